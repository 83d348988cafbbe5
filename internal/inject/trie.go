package inject

import (
	"bytes"
	"strings"
	"sync"
)

// trie finds every form of every secret in one pass over a body (Aho and Corasick).
// A state is a node, and stands for the longest end of what was read that a form
// begins with; the root, 0, stands for nothing.
//
// The forms are few and long, so that nearly every node has one child. A table of
// the children of each node would be fast, but a token of 8 KB would need 70 MB.
type trie struct {
	nodes []trieNode
	// first leads from the root: most characters of a body begin no form, and are
	// told by it alone.
	first [256]int32
}

type trieNode struct {
	char    byte  // leads here from the parent, see foldBody
	child   int32 // the first child; 0 for none
	sibling int32 // the next child of the same parent; 0 for none
	shorter int32 // stands for the longest proper end of what this node stands for
	depth   int32 // how many characters it stands for
	longest int32 // the length of the longest form that ends here; 0 for none
}

// foldBody makes equal the two alphabets of base64, and "+" and the blank that it
// stands for in a form. The case of letters counts, unlike in header fields: nobody
// changes it in a body.
var foldBody = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
	}
	table['-'], table[' '], table['_'] = '+', '+', '/'
	return table
}()

// newTrie makes the trie of the secrets.
func newTrie(secrets []string) *trie {
	var texts [][]byte
	size := 1
	add := func(text []byte) { texts, size = append(texts, text), size+len(text) }
	for _, s := range secrets {
		for f := range endOfForms {
			text := f.text(s)
			add(text)
			if f == hexadecimal {
				add(bytes.ToUpper(text))
			}
		}
		if strings.IndexByte(s, percentEscapes.mark) >= 0 { // its own escapes are undone with all others
			add(withoutEscapes([]byte(s), percentEscapes))
		}
	}
	t := &trie{nodes: make([]trieNode, 1, size)}
	for _, text := range texts {
		t.add(text)
	}
	t.link()
	return t
}

// add adds a form.
func (t *trie) add(text []byte) {
	at := int32(0)
	for _, c := range text {
		c = foldBody[c]
		to := t.childOf(at, c)
		if to == 0 {
			to = int32(len(t.nodes))
			t.nodes = append(t.nodes, trieNode{char: c, sibling: t.nodes[at].child, depth: t.nodes[at].depth + 1})
			t.nodes[at].child = to
		}
		at = to
	}
	t.nodes[at].longest = t.nodes[at].depth
}

// link completes the nodes when all forms are there, those of a smaller depth first:
// shorter leads to one of these.
func (t *trie) link() {
	order := make([]int32, 1, len(t.nodes))
	for i := 0; i < len(order); i++ {
		parent := &t.nodes[order[i]]
		for at := parent.child; at != 0; at = t.nodes[at].sibling {
			order = append(order, at)
			node := &t.nodes[at]
			if node.depth > 1 {
				node.shorter = t.next(parent.shorter, node.char)
			}
			if node.longest == 0 {
				node.longest = t.nodes[node.shorter].longest
			}
		}
		if i == 0 {
			for c := range t.first {
				t.first[c] = t.childOf(0, foldBody[c])
			}
		}
	}
}

// childOf returns the child of a node to which a folded character leads; 0 for none.
func (t *trie) childOf(at int32, c byte) int32 {
	child := t.nodes[at].child
	for child != 0 && t.nodes[child].char != c {
		child = t.nodes[child].sibling
	}
	return child
}

// next returns the state after one more character. Each step to a shorter end is
// paid for by a character that was read before, so that the time is linear.
func (t *trie) next(state int32, c byte) int32 {
	c = foldBody[c]
	for state != 0 {
		if child := t.childOf(state, c); child != 0 {
			return child
		}
		state = t.nodes[state].shorter
	}
	return t.first[c]
}

// open returns the state in place of one in which a form ends: that of the longest
// end of it with which another form may go on.
func (t *trie) open(state int32) int32 {
	for state != 0 && t.nodes[state].child == 0 {
		state = t.nodes[state].shorter
	}
	return state
}

// maxTrieNodes bounds the memory of a trieCache, to about 24 MB.
const maxTrieNodes = 1 << 20

// trieCache keeps the tries of the tokens that are in use: that of a long token takes
// longer to make than many a body to read, and is shared by all answers. The zero
// value is empty and ready.
type trieCache struct {
	mu    sync.Mutex
	tries map[sentTokens]*trie
	nodes int
}

// get returns the trie of the tokens; nil where all of them are too short to be
// looked for.
func (c *trieCache) get(tokens sentTokens) *trie {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.tries[tokens]; ok {
		return t
	}
	var t *trie
	size := 1
	if secrets, _ := appendSecrets(nil, tokens); len(secrets) > 0 {
		t = newTrie(secrets)
		size = len(t.nodes)
	}
	if c.nodes += size; c.tries == nil || c.nodes > maxTrieNodes {
		c.tries, c.nodes = make(map[sentTokens]*trie), size
	}
	c.tries[tokens] = t
	return t
}
