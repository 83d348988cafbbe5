package grant

import "github.com/tidwall/gjson"

// anyElement is the step of a rule's path that stands for each element of a list.
const anyElement = "*"

// pattern is the path of a rule: the paths between its "*" steps. The path
// errors.*.extensions.code consists of errors and of extensions.code. A pattern
// without such a step is one path.
type pattern []path

// parsePattern reads a path in which "*" stands for any element of a list. A member
// of that name is written \*.
func parsePattern(s string) (pattern, error) {
	var p pattern
	var names path
	for _, step := range splitSteps(s) {
		switch step {
		case anyElement:
			p = append(p, names)
			names = nil
		case `\` + anyElement:
			names = append(names, anyElement)
		default:
			name, err := parsePath(step)
			if err != nil {
				return nil, err
			}
			names = append(names, name...)
		}
	}
	return append(p, names), nil
}

// splitSteps splits a path at its dots, but for those behind a backslash, which
// belong to a name.
func splitSteps(s string) (steps []string) {
	begin := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '.':
			steps = append(steps, s[begin:i])
			begin = i + 1
		}
	}
	return append(steps, s[begin:])
}

// leads reports whether a value that accept takes stands where the pattern leads,
// by way of any elements. What is not there is shown to accept as a Result that does
// not exist; so is the element of a list that has none, or of what is no list. An
// error is that of a path, where no other one led to what was looked for.
func (p pattern) leads(root gjson.Result, accept func(gjson.Result) bool) (found bool, err error) {
	list, err := p[0].in(root)
	if err != nil {
		return false, err
	}
	if len(p) == 1 {
		return accept(list), nil
	}
	empty := true
	if list.IsArray() {
		list.ForEach(func(_, element gjson.Result) bool {
			empty = false
			var fault error
			if found, fault = p[1:].leads(element, accept); fault != nil {
				err = fault
			}
			return !found
		})
	}
	switch {
	case empty:
		return accept(gjson.Result{}), nil
	case found:
		return true, nil
	}
	return false, err
}
