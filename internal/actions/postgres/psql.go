package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"opsbot/internal/fault"
)

// A Psql runs the program psql: only it can replay a dump, and inside the
// database's container it gets in where the network does not.
//
// Run starts it with the session's Argv, feeds it stdin to its end and returns
// when the program has ended. What it prints on standard output goes to stdout.
// It returns a *PsqlError when the program said that it failed. When ctx ends,
// the program and all that it started have ended before Run returns.
type Psql interface {
	Run(ctx context.Context, s PsqlSession, stdin io.Reader, stdout io.Writer) error
}

// A PsqlSession says as whom psql works where.
type PsqlSession struct {
	User     string
	Password string // not for the command line; "": none
	Database string
}

// Argv are the arguments of psql for the session, but for the way to the
// server: no start-up file, no chatter, bare values, and an end at the first
// error.
func (s PsqlSession) Argv() []string {
	return []string{"-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-U", s.User, "-d", s.Database}
}

// A PsqlError is psql's own word about its failure.
type PsqlError struct {
	ExitCode int    // 1: own, 2: connection, 3: SQL
	Stderr   string // the beginning
}

func (e *PsqlError) Error() string {
	return fmt.Sprintf("psql ended with %d: %s", e.ExitCode, clip(e.Stderr, 300))
}

// A program is psql as a subprocess.
type program struct {
	path string
	env  []string // the way to the server
}

// localPsql is the psql of this machine, on the way that the connection takes.
func (c *Conn) localPsql() Psql {
	p := program{path: "psql", env: []string{
		"PGHOST=" + c.base.Host, "PGPORT=" + strconv.Itoa(int(c.base.Port)), "PGAPPNAME=opsbot",
		"PGCONNECT_TIMEOUT=10", "PGCLIENTENCODING=UTF8", "PATH=" + os.Getenv("PATH"), "LC_ALL=C",
	}}
	// The password file and certificates are the URL's business; psql reads
	// the same sslmode.
	for _, key := range []string{"sslmode", "sslrootcert"} {
		if v := queryValue(c.config.URL, key); v != "" {
			p.env = append(p.env, "PG"+strings.ToUpper(key)+"="+v)
		}
	}
	return p
}

const (
	// psqlEnds bounds how long a program that was killed may keep its pipes.
	psqlEnds  = 5 * time.Second
	maxErrors = 8 << 10
)

func (p program) Run(ctx context.Context, s PsqlSession, stdin io.Reader, stdout io.Writer) error {
	cmd := exec.CommandContext(ctx, p.path, s.Argv()...)
	cmd.Env = p.env
	if s.Password != "" {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "PGPASSWORD="+s.Password)
	}
	said := &beginning{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, said
	cmd.WaitDelay = psqlEnds
	alone(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return &PsqlError{exit.ExitCode(), said.String()}
	case errors.Is(err, exec.ErrNotFound):
		return fault.New(fault.Unavailable, "The program psql is not installed here.").
			Hinted("Install PostgreSQL's client, or let psql run in the database's container.").Because(err)
	}
	return fmt.Errorf("psql: %w", err)
}

// beginning keeps the first part of what is written.
type beginning struct {
	mu   sync.Mutex
	text []byte
}

func (b *beginning) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p[:min(len(p), maxErrors-len(b.text))]...)
	return len(p), nil
}

func (b *beginning) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.ToValidUTF8(string(b.text), "?")
}
