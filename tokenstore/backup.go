package tokenstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// A backup is a file of lines, each a JSON value: a header, the rows as they
// are stored, and a trailer. Confidential values stay sealed, and the key is not
// in it. A line of a row has a checksum, so that a damaged one is named; the
// trailer has the number of rows and a digest of all lines before it, so that a
// backup that is cut is noticed. None of these needs the key, and none of them
// says that a row is genuine: its seal does.

// ErrBackup: a file is no backup, not a whole one, or not one that can be restored
// here.
var ErrBackup = errors.New("the backup cannot be used")

const (
	backupName   = "caddy-tokens"
	backupFormat = 1
	// maxBackupLine bounds a line that is read: a sealed value is far smaller.
	maxBackupLine = 64 << 20
)

// The types of a backup's columns. A time is written as microseconds since 1970,
// bytes and text in base64.
const (
	ColumnBytes = "bytes"
	ColumnText  = "text"
	ColumnInt   = "int"
	ColumnTime  = "time"
)

// BackupHeader is the first line.
type BackupHeader struct {
	Backup string    `json:"backup"`
	Format int       `json:"format"`
	Schema int       `json:"schema"`
	Time   time.Time `json:"time"`
	// Keys are the fingerprints of the keys that open it.
	Keys   []string      `json:"keys"`
	Tables []BackupTable `json:"tables"`
}

// BackupTable describes the rows of one table: their columns, in order.
type BackupTable struct {
	Name    string         `json:"name"`
	Columns []BackupColumn `json:"columns"`
}

// BackupColumn is a column with its type.
type BackupColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// BackupRow is a row: each cell is a JSON value of its column's type, or null.
type BackupRow struct {
	// Line is its number in the file.
	Line  int
	Table *BackupTable
	Cells []json.RawMessage
}

type backupLine struct {
	Table string          `json:"table"`
	Row   json.RawMessage `json:"row"`
	Sum   string          `json:"crc32"`
}

type backupTrailer struct {
	Rows   *int64 `json:"rows"`
	SHA256 string `json:"sha256"`
}

// BackupSource is implemented by stores that can be backed up.
type BackupSource interface {
	// Backup writes all rows, as they were at one moment, while others read and
	// write. It holds few of them in memory.
	Backup(ctx context.Context, w io.Writer) error
}

// ErrBackupRuns: a backup is under way already.
var ErrBackupRuns = errors.New("another backup is under way")

// BackupWriter writes a backup.
type BackupWriter struct {
	out    *bufio.Writer
	digest hash.Hash
	rows   int64
}

// NewBackupWriter begins a backup with its header.
func NewBackupWriter(w io.Writer, h BackupHeader) (*BackupWriter, error) {
	h.Backup, h.Format = backupName, backupFormat
	b := &BackupWriter{out: bufio.NewWriterSize(w, 64<<10), digest: sha256.New()}
	return b, b.line(h)
}

// Row writes one row of a table.
func (b *BackupWriter) Row(table string, cells []any) error {
	row, err := json.Marshal(cells)
	if err != nil {
		return err
	}
	b.rows++
	return b.line(backupLine{Table: table, Row: row, Sum: rowSum(table, row)})
}

// Close writes the trailer. Without it, the backup is cut.
func (b *BackupWriter) Close() error {
	if err := b.line(backupTrailer{Rows: &b.rows, SHA256: hex.EncodeToString(b.digest.Sum(nil))}); err != nil {
		return err
	}
	return b.out.Flush()
}

func (b *BackupWriter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	b.digest.Write(text)
	_, err = b.out.Write(text)
	return err
}

func rowSum(table string, row []byte) string {
	sum := crc32.ChecksumIEEE(append([]byte(table+"\n"), row...))
	return fmt.Sprintf("%08x", sum)
}

// ReadBackup reads a backup to its end. It calls begin with the header, then row
// with each row. Rows are known to be whole only when it has returned without an
// error: whoever writes them down must be able to take that back. It returns how
// many there were.
func ReadBackup(r io.Reader, begin func(BackupHeader) error, row func(BackupRow) error) (rows int64, err error) {
	b := backupReader{in: bufio.NewReaderSize(r, 64<<10), digest: sha256.New()}
	text, err := b.next()
	if err != nil {
		return 0, err
	}
	var h BackupHeader
	if json.Unmarshal(text, &h) != nil || h.Backup != backupName {
		return 0, b.refuse("it is not the header of a backup")
	}
	if h.Format != backupFormat {
		return 0, b.refuse(fmt.Sprintf("the backup has format %d, this program knows %d: restore it with a newer one", h.Format, backupFormat))
	}
	if err := begin(h); err != nil {
		return 0, err
	}
	tables := map[string]*BackupTable{}
	for i := range h.Tables {
		tables[h.Tables[i].Name] = &h.Tables[i]
	}
	for {
		before := b.digest.Sum(nil)
		if text, err = b.next(); err != nil {
			return rows, err
		}
		line, end, err := b.parse(text)
		switch {
		case err != nil:
			return rows, err
		case end != nil:
			return rows, b.finish(*end, rows, before)
		}
		found := BackupRow{Line: b.line, Table: tables[line.Table]}
		if found.Table == nil || json.Unmarshal(line.Row, &found.Cells) != nil || len(found.Cells) != len(found.Table.Columns) {
			return rows, b.refuse("it is no row of a table in the header")
		}
		if err := row(found); err != nil {
			return rows, fmt.Errorf("line %d: %w", b.line, err)
		}
		rows++
	}
}

type backupReader struct {
	in     *bufio.Reader
	digest hash.Hash
	line   int // the number of the last line that was read
}

// refuse is ErrBackup at the line that was read last.
func (b *backupReader) refuse(why string) error {
	return fmt.Errorf("line %d: %s: %w", b.line, why, ErrBackup)
}

// next reads a line. It ends with a line feed, or it is cut.
func (b *backupReader) next() ([]byte, error) {
	var text []byte
	b.line++
	for {
		part, err := b.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			b.digest.Write(text)
			return text, nil
		case errors.Is(err, io.EOF):
			return nil, b.refuse("the file ends before its last line: it was cut")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d: %w", b.line, err)
		case len(text) > maxBackupLine:
			return nil, b.refuse("it is too long")
		}
	}
}

// parse reads a row or the trailer.
func (b *backupReader) parse(text []byte) (backupLine, *backupTrailer, error) {
	var line struct {
		backupLine
		backupTrailer
	}
	if json.Unmarshal(text, &line) != nil {
		return backupLine{}, nil, b.refuse("it is damaged")
	}
	if line.Rows != nil {
		return backupLine{}, &line.backupTrailer, nil
	}
	if line.Sum != rowSum(line.Table, line.Row) {
		return backupLine{}, nil, b.refuse("it is damaged: its checksum is another one")
	}
	return line.backupLine, nil, nil
}

// finish compares what was read with the trailer, behind which nothing comes.
func (b *backupReader) finish(t backupTrailer, rows int64, digest []byte) error {
	if _, err := b.in.Peek(1); !errors.Is(err, io.EOF) {
		return b.refuse("something comes behind the last line")
	}
	told, err := hex.DecodeString(t.SHA256)
	if *t.Rows != rows || err != nil || !bytes.Equal(told, digest) {
		return b.refuse(fmt.Sprintf("the file is not what was backed up: it has %d rows of %d, or a line was altered", rows, *t.Rows))
	}
	return nil
}
