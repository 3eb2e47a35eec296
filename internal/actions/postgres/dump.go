package postgres

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"opsbot/internal/fault"
)

// A dump is what is known of one after it was read to its end.
type dump struct {
	tables     []dumpedTable
	extensions []string
	notValid   int   // constraints that are declared so
	bytes      int64 // of SQL
	sha256     string
	modified   time.Time
}

type dumpedTable struct {
	parts []string // schema and name
	rows  int
}

func (t dumpedTable) name() string { return strings.Join(t.parts, ".") }

func (d *dump) rows() int {
	n := 0
	for _, t := range d.tables {
		n += t.rows
	}
	return n
}

const (
	dumpHeader  = "-- PostgreSQL database dump"
	dumpTrailer = "-- PostgreSQL database dump complete"
)

// A dumpScanner follows a plain dump of pg_dump and refuses what a dump of one
// database's tables does not have: what would leave the transaction, the
// database or psql.
type dumpScanner struct {
	lexer   *lexer
	dump    dump
	header  bool
	trailer bool
	wrong   error
}

func newDumpScanner() *dumpScanner {
	s := &dumpScanner{lexer: newLexer()}
	s.lexer.onComment = func(text string) {
		switch text {
		case dumpHeader:
			if s.header {
				s.refuse("has a second dump in it")
			}
			s.header = true
		case dumpTrailer:
			s.trailer = s.header
		}
	}
	s.lexer.onMeta = s.meta
	s.lexer.onStatement = s.statement
	s.lexer.onRow = func() { s.dump.tables[len(s.dump.tables)-1].rows++ }
	return s
}

func (s *dumpScanner) refuse(format string, args ...any) {
	if s.wrong == nil {
		s.wrong = fmt.Errorf(format, args...)
	}
}

// Write takes the next piece. Its error continues a sentence about the dump.
func (s *dumpScanner) Write(p []byte) (int, error) {
	if s.wrong != nil {
		return 0, s.wrong
	}
	if s.dump.bytes == 0 && bytes.HasPrefix(p, []byte("PGDMP")) {
		s.refuse("is in pg_dump's custom format; make it without -Fc")
	}
	n, _ := s.lexer.Write(p)
	s.dump.bytes += int64(n)
	return n, s.wrong
}

// end says what is wrong with a dump that was read to its end.
func (s *dumpScanner) end() error {
	open := s.lexer.mode == inRows || s.lexer.mode == inRest
	whole := s.lexer.Close()
	switch {
	case s.wrong != nil:
		return s.wrong
	case s.dump.bytes == 0:
		return errors.New("is empty")
	case !s.header:
		return errors.New("does not begin as a dump of pg_dump does")
	case open:
		last := s.dump.tables[len(s.dump.tables)-1]
		return fmt.Errorf("ends in the middle of the rows of %s", last.name())
	case !whole, !s.trailer:
		return errors.New("is cut off: its last line is missing")
	case len(s.dump.tables) == 0:
		return errors.New("has no rows of any table")
	}
	return nil
}

func (s *dumpScanner) meta(text string) {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case `\restrict`, `\unrestrict`: // of pg_dump, against what is refused here
	case `\connect`, `\c`:
		s.refuse("connects to another database in line %d; make it without --create", s.lexer.line)
	default:
		s.refuse("has a command of psql in line %d: %s", s.lexer.line, clip(text, 40))
	}
}

// statement judges a statement by its first words.
func (s *dumpScanner) statement(words []string, tail [2]string) {
	upper := make([]string, 3)
	for i := range min(len(words), len(upper)) {
		upper[i] = strings.ToUpper(words[i])
	}
	at := s.lexer.first
	if !s.header {
		s.refuse("does not begin as a dump of pg_dump does")
		return
	}
	if s.trailer {
		s.refuse("goes on after its end, in line %d", at)
		return
	}
	if tail == [2]string{"NOT", "VALID"} {
		s.dump.notValid++
	}
	if upper[0] == "SET" && upper[1] == "STANDARD_CONFORMING_STRINGS" && !strings.EqualFold(tail[1], "on") {
		s.refuse("has strings with another meaning, by SET in line %d", at)
	}
	switch upper[0] {
	case "SET", "SELECT", "COMMENT", "GRANT", "REVOKE", "SECURITY", "REFRESH":
	case "CREATE", "ALTER", "DROP":
		global := []string{"DATABASE", "ROLE", "GROUP", "TABLESPACE", "SYSTEM", "SUBSCRIPTION"}
		if slices.Contains(global, upper[1]) || upper[1] == "USER" && upper[2] != "MAPPING" {
			s.refuse("is about more than one database's tables: %s %s in line %d", upper[0], upper[1], at)
		}
		if upper[0] == "CREATE" && upper[1] == "EXTENSION" {
			s.extension(words)
		}
	case "COPY":
		s.copy(words, tail)
	case "INSERT":
		s.refuse("has INSERT in line %d, so that its rows cannot be counted; make it without --inserts", at)
	case "BEGIN", "COMMIT", "START", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE":
		s.refuse("would end the transaction that it is restored in, by %s in line %d; pg_dump does that for large objects", upper[0], at)
	default:
		s.refuse("has %s in line %d, which a dump of pg_dump does not have", clip(upper[0], 30), at)
	}
}

// extension remembers CREATE EXTENSION [IF NOT EXISTS] name ….
func (s *dumpScanner) extension(words []string) {
	i := 2
	if len(words) > 5 && strings.EqualFold(words[2], "IF") {
		i = 5
	}
	if i < len(words) {
		s.dump.extensions = append(s.dump.extensions, unquote(words[i]))
	}
}

// copy begins the rows of a table: COPY schema.name (columns) FROM stdin.
func (s *dumpScanner) copy(words []string, tail [2]string) {
	if !strings.EqualFold(tail[0], "FROM") || !strings.EqualFold(tail[1], "stdin") {
		s.refuse("copies from elsewhere than itself in line %d", s.lexer.first)
		return
	}
	var parts []string
	for i, w := range words[1:] {
		switch {
		case w == "(" || strings.EqualFold(w, "FROM"):
			if len(parts) == 0 {
				s.refuse("has COPY without a table in line %d", s.lexer.first)
				return
			}
			s.begin(parts)
			s.lexer.data()
			return
		case w == ".":
		case i > 0 && w[0] == '"' && words[i][0] == '"': // "a""b" is one name
			parts[len(parts)-1] += `"` + unquote(w)
		default:
			parts = append(parts, unquote(w))
		}
	}
	s.refuse("has COPY with too long a name in line %d", s.lexer.first)
}

// begin makes the table the last one, for its rows. A partitioned table may
// come more than once.
func (s *dumpScanner) begin(parts []string) {
	t := dumpedTable{parts: parts}
	if i := slices.IndexFunc(s.dump.tables, func(o dumpedTable) bool { return slices.Equal(o.parts, parts) }); i >= 0 {
		t = s.dump.tables[i]
		s.dump.tables = slices.Delete(s.dump.tables, i, i+1)
	}
	s.dump.tables = append(s.dump.tables, t)
}

func unquote(word string) string {
	if len(word) >= 2 && word[0] == '"' {
		return word[1 : len(word)-1]
	}
	return word
}

// A Dump is what is known of a dump that is whole.
type Dump struct {
	Bytes  int64 // of SQL
	SHA256 string
	Rows   map[string]int // by table with its schema
}

// ScanDump reads a dump to its end, plain or gzipped. Its error, a
// *fault.Error, says what is wrong with one that is not whole, or that has more
// in it than one database's tables. No server is asked.
func ScanDump(ctx context.Context, path string) (Dump, error) {
	b, err := openDump(path)
	if err != nil {
		return Dump{}, err
	}
	defer b.Close()
	found, err := b.scan(ctx)
	if err != nil {
		return Dump{}, err
	}
	d := Dump{Bytes: found.bytes, SHA256: found.sha256, Rows: map[string]int{}}
	for _, t := range found.tables {
		d.Rows[t.name()] = t.rows
	}
	return d, nil
}

// A backup is an open file with a dump.
type backup struct {
	path string
	file *os.File
	info os.FileInfo
}

// openBackup opens a dump that the configuration allows to be restored: a
// regular file whose path matches, and no link to another place.
func (c *Conn) openBackup(path string) (*backup, error) {
	if c.config.Backups == "" {
		return nil, fault.New(fault.Forbidden, "The connection to %s names no backups.", c.place()).
			Hinted("Set backups on the connection to a path such as /var/backups/%s_*.sql.gz.", c.database)
	}
	if ok, err := filepath.Match(c.config.Backups, path); err != nil || !ok || filepath.Clean(path) != path {
		return nil, fault.New(fault.Forbidden, "%s is not among the backups of this connection.", clip(path, 200)).Hinted("They are %s.", c.config.Backups)
	}
	return openDump(path)
}

// openDump opens a regular file, and no link to one.
func openDump(path string) (*backup, error) {
	wrong := func(err error) error {
		return fault.New(fault.NotFound, "The backup %s cannot be read.", path).Hinted("Is it there, a regular file, and readable for opsbot?").Because(err)
	}
	link, err := os.Lstat(path)
	if err != nil {
		return nil, wrong(err)
	}
	if !link.Mode().IsRegular() {
		return nil, wrong(fmt.Errorf("it is a %s", link.Mode().Type()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, wrong(err)
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(link, info) {
		err = errors.New("it was replaced meanwhile")
	}
	if err != nil {
		_ = f.Close()
		return nil, wrong(err)
	}
	return &backup{path, f, info}, nil
}

func (b *backup) Close() { _ = b.file.Close() }

// A pass is one reading of a backup: SQL comes out, the file's digest is
// known at the end.
type pass struct {
	ctx  context.Context
	sql  io.Reader
	raw  *bufio.Reader
	hash hash.Hash
}

// read begins a pass.
func (b *backup) read(ctx context.Context) (*pass, error) {
	if _, err := b.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := &pass{ctx: ctx, hash: sha256.New()}
	r.raw = bufio.NewReaderSize(io.TeeReader(b.file, r.hash), 256<<10)
	r.sql = r.raw
	if magic, err := r.raw.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(r.raw)
		if err != nil {
			return nil, errors.New("is no whole gzip file")
		}
		r.sql = z
	}
	return r, nil
}

// Read gives SQL. Its errors, but for those of ctx, continue a sentence.
func (r *pass) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.sql.Read(p)
	switch {
	case err == nil, err == io.EOF:
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return n, errors.New("is cut off or damaged: its gzip does not end as it should")
	}
	return n, fmt.Errorf("cannot be read to its end (%w)", err)
}

// digest is the file's SHA-256, after everything was read.
func (r *pass) digest() (string, error) {
	if _, err := io.Copy(io.Discard, r.raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(r.hash.Sum(nil)), nil
}

// scan reads the whole dump and refuses one that is not whole.
func (b *backup) scan(ctx context.Context) (*dump, error) {
	r, err := b.read(ctx)
	if err == nil {
		s := newDumpScanner()
		if _, err = io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{r}, make([]byte, 256<<10)); err == nil {
			err = s.end()
		}
		if err == nil {
			s.dump.sha256, err = r.digest()
			s.dump.modified = b.info.ModTime()
			if err == nil {
				return &s.dump, nil
			}
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read %s: %w", b.path, ctx.Err())
	}
	return nil, b.refused(err)
}

// refused is the error of a dump that is not restored; why continues a
// sentence about it.
func (b *backup) refused(why error) error {
	return fault.New(fault.Conflict, "The backup %s %s.", b.path, why).
		Hinted("Nothing was restored from it. Take another backup.").Because(why)
}
