package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A seal tells that a row was written by somebody with the key, not that it is
// the newest one: whoever can write the database could put an old row back. So
// the versions of all realms, secrets, pushed values, companies and clients are
// written down under seals of their own, in the transaction that writes the row.
//
// There are registerCount registers; the digest of a row's kind and reference
// says which one has its version. One more row, the head, has the version of
// each register, so that an old register is no better than an old row. All
// versions come from one counter, the head's, and never come twice: not even
// after a row was deleted and created again.
//
// The head also has the note that there once was a client, for the same reason:
// whoever deletes all clients must not open what they had closed. If the head
// cannot be trusted, the note counts as written.
//
// Whoever puts back everything that changed since some moment, head and
// registers included, has an older state that is whole. A running process
// notices that by the versions that it has seen (Store.seen); one that starts
// afterwards cannot.

const (
	registerCount = 256
	headName      = "head"
	registerLabel = "tokens_registers.seal"
)

// rowID stands for a row in its register: a digest, so that a register has no
// more than 18 bytes or so for each row.
type rowID [16]byte

func realmRow(id string) rowID         { return idOf("realm", realm.Ref{Realm: id}) }
func secretRow(ref realm.Ref) rowID    { return idOf("secret", ref) }
func pushedRow(ref realm.Ref) rowID    { return idOf("pushed", ref) }
func companyRow(taxpayer string) rowID { return idOf("company", realm.Ref{Key: taxpayer}) }
func clientRow(id string) rowID        { return idOf("client", realm.Ref{Key: id}) }

func idOf(kind string, ref realm.Ref) rowID {
	sum := sha256.Sum256(ref.AppendTo([]byte(kind + "\x00")))
	return rowID(sum[:16])
}

// register is the name of the register that has the row's version.
func (id rowID) register() string { return hex.EncodeToString(id[:1]) }

// register is one of them as it is stored.
type register struct {
	version int64
	rows    map[rowID]int64
}

// head has the versions of the registers by their number; 0 for one that does
// not exist.
type head struct {
	version  int64
	versions [registerCount]int64
	// clientsRequired: there once was a client.
	clientsRequired bool
}

// seenVersions are the newest versions of the registers that this process has
// read or written. A register that is older was put back.
type seenVersions [registerCount]atomic.Int64

func (s *seenVersions) raise(number int, version int64) {
	for old := s[number].Load(); version > old && !s[number].CompareAndSwap(old, version); {
		old = s[number].Load()
	}
}

// registerJoin adds the register of a row, and the head, to a query. Its
// arguments come first.
const (
	registerColumns = "r.seal, r.version, h.seal, h.version"
	registerJoin    = " LEFT JOIN tokens_registers r ON r.name = ? LEFT JOIN tokens_registers h ON h.name = ?"
)

// registerCells are registerColumns.
type registerCells struct {
	seal, headSeal       []byte
	version, headVersion sql.NullInt64
}

func (c *registerCells) dest() []any { return []any{&c.seal, &c.version, &c.headSeal, &c.headVersion} }

// asked is a question about one row: id, and what was the newest version of its
// register before the question was sent. A read that began later than another
// one ended cannot see an older state.
type asked struct {
	id   rowID
	seen int64
}

func (s *Store) ask(id rowID) asked { return asked{id: id, seen: s.seen[id[0]].Load()} }

// args are the arguments of registerJoin.
func (a asked) args() []any { return []any{[]byte(a.id.register()), []byte(headName)} }

// verify reports whether a row is the newest one: its version is the one that
// is in the register. A head that cannot be opened says nothing; the status
// names it.
func (s *Store) verify(a asked, version int64, c registerCells, what string) error {
	reg, err := s.openRegister(a, c)
	if err != nil {
		return err
	}
	if newest, known := reg.rows[a.id]; !known || newest != version {
		return finalError{fmt.Errorf("%s is not the newest version that was saved: %w", what, tokenstore.ErrDamaged)}
	}
	return nil
}

// openRegister opens the register of a row, and compares it with the head and
// with what this process has seen.
func (s *Store) openRegister(a asked, c registerCells) (register, error) {
	name, number := a.id.register(), int(a.id[0])
	reg, err := s.parseRegister(name, c.seal, c.version.Int64)
	if err != nil {
		return reg, err
	}
	old := reg.version < a.seen
	if h, err := s.parseHead(c.headSeal, c.headVersion.Int64); err == nil {
		old = old || h.versions[number] != reg.version
	}
	if old {
		return reg, finalError{fmt.Errorf("register %s is not the newest version that was saved: %w", name, tokenstore.ErrDamaged)}
	}
	s.seen.raise(number, reg.version)
	return reg, nil
}

func (s *Store) parseRegister(name string, seal []byte, version int64) (register, error) {
	reg := register{version: version, rows: map[rowID]int64{}}
	plain, err := s.keys.Open(registerAD(name, version), seal)
	if err != nil {
		return reg, finalError{err}
	}
	for len(plain) > 0 {
		var id rowID
		n := copy(id[:], plain)
		row, size := binary.Varint(plain[n:])
		if n < len(id) || size <= 0 {
			return reg, finalError{damagedRow(registerLabel, realm.Ref{Key: name})}
		}
		reg.rows[id], plain = row, plain[n+size:]
	}
	return reg, nil
}

func (s *Store) parseHead(seal []byte, version int64) (head, error) {
	h := head{version: version}
	plain, err := s.keys.Open(registerAD(headName, version), seal)
	if err != nil {
		return h, finalError{err}
	}
	for i := range h.versions {
		v, size := binary.Varint(plain)
		if size <= 0 {
			return h, finalError{damagedRow(registerLabel, realm.Ref{Key: headName})}
		}
		h.versions[i], plain = v, plain[size:]
	}
	h.clientsRequired = len(plain) > 0
	return h, nil
}

func (r register) plain() []byte {
	var b []byte
	ids := slices.SortedFunc(maps.Keys(r.rows), func(a, b rowID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		b = binary.AppendVarint(append(b, id[:]...), r.rows[id])
	}
	return b
}

func (h head) plain() []byte {
	var b []byte
	for _, v := range h.versions {
		b = binary.AppendVarint(b, v)
	}
	if h.clientsRequired { // the head of schema 5 ended here
		b = append(b, 1)
	}
	return b
}

func registerAD(name string, version int64) tokenstore.AD {
	return tokenstore.AD{Column: registerLabel, Ref: realm.Ref{Key: name}, Version: version}
}

// ledger is the registers of some rows, and the head, held by a transaction
// that writes the rows. They are locked behind the rows themselves, always in
// this order.
type ledger struct {
	store     *Store
	head      head
	found     map[string]bool // the registers, and the head, that have a row
	registers map[string]register
	faults    map[string]error // those that cannot be trusted
	version   int64            // of what the transaction writes
	changed   map[string]bool
	// headChanged: the head is written although no register changed.
	headChanged bool
}

// lockLedger locks the registers of some rows.
func (s *Store) lockLedger(ctx context.Context, tx *txn, ids ...rowID) (*ledger, error) {
	l := &ledger{
		store: s, found: map[string]bool{}, registers: map[string]register{}, faults: map[string]error{}, changed: map[string]bool{},
	}
	names := []any{[]byte(headName)}
	questions := map[string]asked{}
	for _, id := range ids {
		if name := id.register(); questions[name] == (asked{}) {
			questions[name] = s.ask(id)
			names = append(names, []byte(name))
		}
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	query := "SELECT name, seal, version FROM tokens_registers WHERE name IN (" + marks + ") ORDER BY name"
	cells, err := readRegisters(ctx, tx, query+tx.dialect.forUpdate(), names...)
	if err != nil {
		return nil, err
	}
	if l.head, err = s.lockHead(ctx, tx, cells[headName]); err != nil {
		return nil, err
	}
	if !l.head.clientsRequired && s.clientsRequired.Load() { // an old head was put back, or a lost one is made again
		l.requireClients()
	}
	for name, question := range questions {
		c, found := cells[name]
		l.found[name] = found
		if !found && l.head.versions[question.id[0]] == 0 {
			l.registers[name] = register{rows: map[rowID]int64{}}
			continue
		}
		c.headSeal, c.headVersion = cells[headName].seal, cells[headName].version
		l.registers[name], l.faults[name] = s.openRegister(question, c)
	}
	_, l.found[headName] = cells[headName]
	l.version = l.head.version + 1
	return l, nil
}

// readRegisters reads registers by their names.
func readRegisters(ctx context.Context, x execer, query string, args ...any) (map[string]registerCells, error) {
	rows, err := x.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[string]registerCells{}
	for rows.Next() {
		var name string
		var c registerCells
		if err := rows.Scan(&name, &c.seal, &c.version); err != nil {
			return nil, err
		}
		found[name] = c
	}
	return found, rows.Err()
}

// lockHead opens the head. One that is lost or damaged is made again from the
// registers that can be opened: nobody could save anything any more without it.
// Whether there was a client is not known then, and counts as true.
func (s *Store) lockHead(ctx context.Context, tx *txn, c registerCells) (head, error) {
	h, err := s.parseHead(c.seal, c.version.Int64)
	if err == nil {
		return h, nil
	}
	s.log.Error("the head of the registers is lost or damaged; it is made again, and that an old register was put back meanwhile is not noticed",
		zap.String("store", s.dialect.name()), zap.Error(err))
	all, err := readRegisters(ctx, tx, "SELECT name, seal, version FROM tokens_registers")
	if err != nil {
		return h, err
	}
	h = head{version: c.version.Int64}
	s.clientsRequired.Store(true)
	for name, c := range all {
		number, err := hex.DecodeString(name)
		if err != nil || len(number) != 1 {
			continue
		}
		if reg, err := s.parseRegister(name, c.seal, c.version.Int64); err == nil {
			h.versions[number[0]] = reg.version
			h.version = max(h.version, reg.version)
		}
	}
	return h, nil
}

// check reports whether a row is the newest one, see verify.
func (l *ledger) check(id rowID, version int64, what string) error {
	name := id.register()
	if err := l.faults[name]; err != nil {
		return err
	}
	if newest, known := l.registers[name].rows[id]; !known || newest != version {
		return finalError{fmt.Errorf("%s is not the newest version that was saved: %w", what, tokenstore.ErrDamaged)}
	}
	return nil
}

// set notes that a row has the ledger's version from now on. A register that
// cannot be trusted begins anew: the other rows in it stay damaged until they
// are created again.
func (l *ledger) set(id rowID) {
	name := id.register()
	reg := l.registers[name]
	if l.faults[name] != nil {
		reg = register{rows: map[rowID]int64{}}
		l.faults[name] = nil
	}
	reg.rows[id], reg.version = l.version, l.version
	l.registers[name], l.changed[name] = reg, true
}

// remove notes that a row was deleted. A register that cannot be trusted stays
// as it is.
func (l *ledger) remove(id rowID) {
	name := id.register()
	if l.faults[name] != nil {
		return
	}
	reg := l.registers[name]
	if _, known := reg.rows[id]; !known {
		return
	}
	delete(reg.rows, id)
	reg.version = l.version
	l.registers[name], l.changed[name] = reg, true
}

// requireClients notes that there was a client.
func (l *ledger) requireClients() {
	if !l.head.clientsRequired {
		l.head.clientsRequired, l.headChanged = true, true
	}
}

// write writes what changed.
func (l *ledger) write(ctx context.Context, x execer) error {
	if len(l.changed) == 0 && !l.headChanged {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(l.changed)) {
		reg := l.registers[name]
		number, err := hex.DecodeString(name)
		if err != nil {
			return err
		}
		l.head.versions[number[0]] = reg.version
		if err := l.store.putRegister(ctx, x, name, reg.version, reg.plain(), l.found[name]); err != nil {
			return err
		}
	}
	l.head.version = l.version
	return l.store.putRegister(ctx, x, headName, l.version, l.head.plain(), l.found[headName])
}

func (s *Store) putRegister(ctx context.Context, x execer, name string, version int64, plain []byte, found bool) error {
	seal, keyID, err := s.sealPlain(registerAD(name, version), plain)
	if err != nil {
		return err
	}
	query := "INSERT INTO tokens_registers (seal, key_id, version, name) VALUES (?, ?, ?, ?)"
	if found {
		query = "UPDATE tokens_registers SET seal = ?, key_id = ?, version = ? WHERE name = ?"
	}
	_, err = x.ExecContext(ctx, query, seal, keyID, version, []byte(name))
	return err
}

// save notes that the transaction wrote a row.
func (l *ledger) save(ctx context.Context, tx *txn, id rowID) error {
	l.set(id)
	tx.ledger = l
	return l.write(ctx, tx)
}

// forgetRows notes that the transaction deleted rows.
func (s *Store) forgetRows(ctx context.Context, tx *txn, ids ...rowID) error {
	l, err := s.lockLedger(ctx, tx, ids...)
	if err != nil {
		return err
	}
	for _, id := range ids {
		l.remove(id)
	}
	tx.ledger = l
	return l.write(ctx, tx)
}

// written takes notice that the transaction was committed.
func (l *ledger) written() {
	if l == nil {
		return
	}
	if l.head.clientsRequired {
		l.store.clientsRequired.Store(true)
	}
	for name := range l.changed {
		if number, err := hex.DecodeString(name); err == nil {
			l.store.seen.raise(int(number[0]), l.version)
		}
	}
}

// verifyList calls check for each item of a list of n, with the newest versions
// of all rows.
func (s *Store) verifyList(ctx context.Context, n int, check func(i int, newest map[rowID]int64) error) error {
	if n == 0 {
		return nil
	}
	var newest map[rowID]int64
	err := s.read(ctx, "read registers", func(db *sql.DB) (err error) {
		newest, _, err = s.allRegisters(ctx, db)
		return err
	})
	for i := 0; i < n && err == nil; i++ {
		err = check(i, newest)
	}
	return err
}

// isNewest reports whether a row has its newest version.
func isNewest(newest map[rowID]int64, id rowID, version int64) bool {
	v, known := newest[id]
	return known && v == version
}

// allRegisters are the rows of all registers that can be opened and agree with
// the head. It is for lists: what does not agree with it is read once more,
// alone, because it may have been saved meanwhile.
//
// It also reports whether clients are required. That is so, too, if the head
// cannot be opened or is older than one of the registers, which are read in the
// same statement, and if this process has ever seen it to be so.
func (s *Store) allRegisters(ctx context.Context, x execer) (newest map[rowID]int64, clientsRequired bool, err error) {
	all, err := readRegisters(ctx, x, "SELECT name, seal, version FROM tokens_registers")
	if err != nil {
		return nil, false, err
	}
	h, headErr := s.parseHead(all[headName].seal, all[headName].version.Int64)
	if headErr != nil || h.clientsRequired {
		s.clientsRequired.Store(true)
	}
	newest = map[rowID]int64{}
	for name, c := range all {
		number, err := hex.DecodeString(name)
		if err != nil || len(number) != 1 {
			continue
		}
		reg, err := s.parseRegister(name, c.seal, c.version.Int64)
		if err != nil {
			continue
		}
		if reg.version > h.version {
			s.clientsRequired.Store(true)
		}
		if headErr == nil && h.versions[number[0]] != reg.version || reg.version < s.seen[number[0]].Load() {
			continue
		}
		maps.Copy(newest, reg.rows)
	}
	return newest, s.clientsRequired.Load(), nil
}
