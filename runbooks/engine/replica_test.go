package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"opsbot/internal/access"
	"opsbot/internal/store"
	"opsbot/runbooks"
	"opsbot/runbooks/engine"
)

// These make the test program a replica: the database, and the ledger that its
// actions write.
const (
	replicaURL    = "OPSBOT_ENGINE_REPLICA_URL"
	replicaLedger = "OPSBOT_ENGINE_REPLICA_LEDGER"
)

// A ledger is the world outside of the database: a file to which each
// destructive execution adds a line.
type ledger struct {
	file string
	n    int // of the environment
}

func (l ledger) Identity(context.Context) (string, error) { return fmt.Sprint("ledger ", l.n), nil }
func (l ledger) Address() string                          { return fmt.Sprintf("redis ledger%d:6379/0", l.n) }
func (l ledger) Close() error                             { return nil }

// strike adds a line. One write of few bytes to a file opened with O_APPEND
// comes out whole, whoever writes at the same time.
func (l ledger) strike(run, what string) (err error) {
	f, err := os.OpenFile(l.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = also(err, f.Close()) }()
	_, err = fmt.Fprintf(f, "%s %s\n", run, what)
	return err
}

func also(err, second error) error {
	if err != nil {
		return err
	}
	return second
}

// strikes counts lines by "run what".
func (l ledger) strikes() (map[string]int, error) {
	data, err := os.ReadFile(l.file)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	n := make(map[string]int)
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		n[lines.Text()]++
	}
	return n, nil
}

type strikeArgs struct {
	What string `arg:"what" required:"true" help:"which strike"`
}

type struckResult struct {
	Times int `json:"times"`
}

// dawdle is the time that an action takes before and after it does something.
func dawdle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(rand.N(120 * time.Millisecond)):
	}
}

// A deed is an action on the ledger.
type deed struct {
	spec runbooks.Spec
	run  func(ctx context.Context, l ledger, c runbooks.Call) (any, error)
}

func (d deed) Spec() runbooks.Spec { return d.spec }

func (d deed) Run(ctx context.Context, c runbooks.Call, _ io.Writer) (any, error) {
	return d.run(ctx, c.Target.Conn.(ledger), c)
}

func (d deed) Preview(context.Context, runbooks.Call) (runbooks.Preview, error) {
	return runbooks.Preview{Impact: []string{"adds a line to the ledger"}}, nil
}

// A sight is a deed that only looks.
type sight struct{ deed deed }

func (s sight) Spec() runbooks.Spec { return s.deed.Spec() }

func (s sight) Run(ctx context.Context, c runbooks.Call, out io.Writer) (any, error) {
	return s.deed.Run(ctx, c, out)
}

var ledgerActions = []runbooks.Action{
	sight{deed{
		spec: runbooks.Spec{Name: "redis.struck", Summary: "Count strikes", Args: strikeArgs{}, Result: struckResult{}},
		run: func(ctx context.Context, l ledger, c runbooks.Call) (any, error) {
			dawdle(ctx)
			n, err := l.strikes()
			return struckResult{n[c.Run+" "+c.Args.(*strikeArgs).What]}, err
		},
	}},
	deed{
		spec: runbooks.Spec{Name: "redis.strike", Summary: "Strike", Effect: runbooks.Destructive, Timeout: time.Minute, Args: strikeArgs{}, Result: struct{}{}},
		run: func(ctx context.Context, l ledger, c runbooks.Call) (any, error) {
			dawdle(ctx)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := l.strike(c.Run, c.Args.(*strikeArgs).What); err != nil {
				return nil, err
			}
			dawdle(ctx)
			return struct{}{}, nil
		},
	},
}

// twice strikes twice, with people asked about one of them after a crash and a
// check about the other.
var twice = doc("twice",
	step("1. Look", "id: look\ndo: redis.struck\ntarget: cache\nwith: { what: first }\nexpect: result.times == 0")+
		step("2. First", `
id: first
do: redis.strike
target: cache
with: { what: first }
confirm: { text: "Strike?", type: "${{ run.environment }}" }
review: { by: [sre], count: 1, within: 15m }
recheck: [look]
on_crash: ask
`)+
		step("3. Is it done?", "id: done\ndo: redis.struck\ntarget: cache\nwith: { what: second }\nexpect: result.times > 0\non_fail: note")+
		step("4. Second", `
id: second
do: redis.strike
target: cache
with: { what: second }
confirm: Again?
on_crash: { verify: done }
`)+
		step("5. Look again", "id: after\ndo: redis.struck\ntarget: cache\nwith: { what: first }"))

// ledgerOptions are those of an engine over the store, for people and replicas
// alike.
func ledgerOptions(t *testing.T, db *store.Store, file string, envs int) engine.Options {
	t.Helper()
	catalog, err := runbooks.NewCatalog(ledgerActions)
	if err != nil {
		t.Fatal(err)
	}
	lib, problems := runbooks.Load(catalog, fstest.MapFS{"twice.md": &fstest.MapFile{Data: []byte(twice)}})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	o := engine.Options{
		Store: db.Runs(), Library: lib, Catalog: catalog, People: town{}, Log: slog.New(slog.DiscardHandler),
		Policy: access.Policy{Groups: map[string]access.Group{"sre": {Usergroup: "sre"}, "oncall": {Usergroup: "oncall"}}},
	}
	for i := range envs {
		name := fmt.Sprint("env", i)
		o.Environments = append(o.Environments, engine.Environment{Name: name, Targets: map[string]runbooks.Target{
			"cache": {Environment: name, Name: "cache", Kind: "redis", Conn: ledger{file, i}},
		}})
	}
	return o
}

// beReplica serves the database until it is killed or its standard input ends,
// which also happens when its parent dies.
func beReplica(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var db *store.Store
	var err error
	for db == nil && ctx.Err() == nil { // it may be born while it is cut off
		opening, cancel := context.WithTimeout(ctx, 2*time.Second)
		db, err = store.Open(opening, os.Getenv(replicaURL), store.Options{})
		cancel()
	}
	if err != nil {
		return
	}
	o := ledgerOptions(t, db, os.Getenv(replicaLedger), environments)
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	o.Grace = time.Second
	served := make(chan error, 1)
	go func() { served <- db.Serve(ctx) }()
	if err := engine.New(o).Serve(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Log(err)
	}
}
