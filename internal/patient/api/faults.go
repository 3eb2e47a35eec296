package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
)

// Limits of what a fault may ask for: enough to hurt a container, not the
// machine that it runs on.
const (
	maxSlow  = time.Minute
	maxBurn  = 16
	maxHog   = 2048 // MiB
	maxConns = 100
	maxReads = 5000 // per second
)

// Ailments are the faults of one API; the zero value is a healthy one.
type Ailments struct {
	Slow  time.Duration `json:"slow"`  // added to each answer; in nanoseconds
	Err   float64       `json:"err"`   // how many percent of the answers are errors
	Code  int           `json:"code"`  // their status; 0 is 500
	Burn  int           `json:"burn"`  // processors kept busy
	Hog   int           `json:"hog"`   // MiB of memory held
	Conns int           `json:"conns"` // connections to the database held, doing nothing
	Reads int           `json:"reads"` // lookups of random keys in Redis, per second
	Deaf  bool          `json:"deaf"`  // SIGTERM is ignored
}

// Parse changes the ailments that values name and leaves the others. What is
// wrong in values is an error, and then nothing is changed.
func (a *Ailments) Parse(values url.Values) error {
	next := *a
	for name := range values {
		text := values.Get(name)
		var err error
		if len(values[name]) > 1 {
			return fmt.Errorf("%s is there twice", name)
		}
		switch name {
		case "slow":
			if next.Slow, err = time.ParseDuration(text); err == nil && (next.Slow < 0 || next.Slow > maxSlow) {
				err = fmt.Errorf("it is 0 to %s", maxSlow)
			}
		case "err":
			if next.Err, err = strconv.ParseFloat(text, 64); err == nil && !(next.Err >= 0 && next.Err <= 100) {
				err = errors.New("it is 0 to 100 percent")
			}
		case "code":
			next.Code, err = number(text, 400, 599)
		case "burn":
			next.Burn, err = number(text, 0, maxBurn)
		case "hog":
			next.Hog, err = number(text, 0, maxHog)
		case "conns":
			next.Conns, err = number(text, 0, maxConns)
		case "reads":
			next.Reads, err = number(text, 0, maxReads)
		case "deaf":
			next.Deaf, err = strconv.ParseBool(text)
		default:
			err = errors.New("there is no such fault")
		}
		if err != nil {
			return fmt.Errorf("%s=%s: %w", name, text, err)
		}
	}
	*a = next
	return nil
}

func number(text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("it is %d to %d", least, most)
	}
	return n, err
}

// Faults is the switchboard of an API's faults, and their HTTP handler:
// GET tells them, POST changes those that its query names, DELETE ends all.
// Beyond Ailments, POST takes exit=CODE, which ends the process at once, and
// crash=CODE, which ends it now and at every start of the same container.
type Faults struct {
	database string // URL
	cache    *redis.Client
	marker   string         // a file whose being there makes each start fail
	exit     func(code int) // ends the process

	mu    sync.Mutex
	now   Ailments
	hog   []byte
	burn  []context.CancelFunc
	conns []*pgx.Conn
	reads context.CancelFunc
	busy  sync.WaitGroup
}

// NewFaults returns a switchboard with all faults off. marker is the file that
// remembers a crash loop; exit ends the process. Close it.
func NewFaults(database string, cache *redis.Client, marker string, exit func(code int)) *Faults {
	return &Faults{database: database, cache: cache, marker: marker, exit: exit}
}

// Now returns the faults that are on.
func (f *Faults) Now() Ailments {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch r.Method {
	case http.MethodGet:
	case http.MethodDelete:
		if err := f.Set(r.Context(), Ailments{}); err != nil {
			problem(w, http.StatusInternalServerError, err.Error())
			return
		}
	case http.MethodPost:
		if leaves, err := f.leave(w, query); leaves {
			if err != nil {
				problem(w, http.StatusBadRequest, err.Error())
			}
			return
		}
		want := f.Now()
		if err := want.Parse(query); err != nil {
			problem(w, http.StatusBadRequest, err.Error())
			return
		}
		if err := f.Set(r.Context(), want); err != nil {
			problem(w, http.StatusConflict, err.Error())
			return
		}
	default:
		problem(w, http.StatusMethodNotAllowed, "GET, POST or DELETE")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(f.Now()) // the client has gone
}

// leave ends the process if the query asks for that.
func (f *Faults) leave(w http.ResponseWriter, query url.Values) (bool, error) {
	for _, name := range []string{"exit", "crash"} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		code, err := number(text, 0, 125)
		if err == nil && name == "crash" {
			err = os.WriteFile(f.marker, []byte(text), 0o600)
		}
		if err != nil {
			return true, fmt.Errorf("%s=%s: %w", name, text, err)
		}
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush() // the answer before the end
		f.exit(code)
		return true, nil
	}
	return false, nil
}

// crashing returns the exit code that the marker asks for, and whether it does.
func crashing(marker string) (int, bool) {
	text, err := os.ReadFile(marker)
	if err != nil {
		return 0, false
	}
	code, err := strconv.Atoi(string(text))
	return code, err == nil
}

// suffer is what a request goes through: it waits as long as the fault says,
// and gets a code if it shall fail.
func (f *Faults) suffer(ctx context.Context) int {
	now := f.Now()
	if now.Slow > 0 {
		timer := time.NewTimer(now.Slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if rand.Float64()*100 >= now.Err {
		return 0
	}
	if now.Code == 0 {
		return http.StatusInternalServerError
	}
	return now.Code
}

// Set makes the faults what want says. When it fails, for instance because the
// database gives no more connections, what could be done stays.
func (f *Faults) Set(ctx context.Context, want Ailments) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setHog(want.Hog)
	f.setBurn(want.Burn)
	f.setReads(want.Reads)
	err := f.setConns(ctx, want.Conns)
	want.Conns = len(f.conns)
	f.now = want
	return err
}

// Close ends all faults.
func (f *Faults) Close() error {
	err := f.Set(context.Background(), Ailments{})
	f.busy.Wait()
	return err
}

func (f *Faults) setHog(mib int) {
	if len(f.hog) == mib<<20 {
		return
	}
	f.hog = make([]byte, mib<<20)
	defer debug.FreeOSMemory() // what was held before
	for i := 0; i < len(f.hog); i += 4096 {
		f.hog[i] = 1 // a page that nobody wrote to costs nothing
	}
}

func (f *Faults) setBurn(n int) {
	for _, stop := range f.burn {
		stop()
	}
	f.burn = nil
	for range n {
		ctx, stop := context.WithCancel(context.Background())
		f.burn = append(f.burn, stop)
		f.busy.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
}

func (f *Faults) setReads(perSecond int) {
	if f.reads != nil {
		f.reads()
		f.reads = nil
	}
	if perSecond == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	f.reads = stop
	f.busy.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// Whether Redis answers is not this reader's business.
				_ = f.cache.Get(ctx, CachePrefix+"random-"+strconv.FormatUint(rand.Uint64(), 36)).Err()
			case <-ctx.Done():
				return
			}
		}
	})
}

func (f *Faults) setConns(ctx context.Context, n int) error {
	for len(f.conns) > n {
		last := f.conns[len(f.conns)-1]
		f.conns = f.conns[:len(f.conns)-1]
		if err := last.Close(ctx); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("close a connection: %w", err)
		}
	}
	if len(f.conns) == n {
		return nil
	}
	config, err := pgx.ParseConfig(f.database)
	if err != nil {
		return fmt.Errorf("open a connection: %w", err)
	}
	config.RuntimeParams["application_name"] = "leak"
	for len(f.conns) < n {
		conn, err := pgx.ConnectConfig(ctx, config)
		var refused *pgconn.PgError
		if errors.As(err, &refused) { // the rest is about hosts and TLS
			err = fmt.Errorf("%s (%s)", refused.Message, refused.Code)
		}
		if err != nil {
			return fmt.Errorf("open connection %d of %d: %w", len(f.conns)+1, n, err)
		}
		f.conns = append(f.conns, conn)
	}
	return nil
}
