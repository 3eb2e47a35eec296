package patient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// An engine is a Redis that belongs to one patient.
type engine interface {
	name() string
	addr() string // host:port
	// limit sets maxmemory, in bytes; 0 is no limit.
	limit(ctx context.Context, bytes int64) error
	// died is closed when the engine has ended, wanted or not.
	died() <-chan struct{}
	close() error
}

func openEngine(ctx context.Context, o Options) (engine, error) {
	if o.Outside != nil {
		return openOutside(o.Outside), nil
	}
	if o.Engine == Miniredis {
		return openMini()
	}
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return openProcess(ctx, path, o.Dir)
	}
	if o.Engine == AnyEngine {
		return openMini()
	}
	return nil, err
}

// A process is a redis-server that was started for the patient and ends with
// it, even if this program is killed (where the system can do that).
type process struct {
	version string
	port    int
	dir     string // to remove; "": not ours
	cmd     *exec.Cmd
	admin   *redis.Client
	ended   chan struct{}
	once    sync.Once
}

// portTries is how often a port that was free a moment ago may be taken by
// somebody else before giving up.
const portTries = 5

func openProcess(ctx context.Context, path, dir string) (*process, error) {
	version, err := versionOf(ctx, path)
	if err != nil {
		return nil, err
	}
	var errs []error
	for range portTries {
		p, err := tryProcess(ctx, path, dir)
		if err == nil {
			p.version = version
			return p, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

var versionText = regexp.MustCompile(`\bv=([0-9][0-9.]*)`)

func versionOf(ctx context.Context, path string) (string, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if m := versionText.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	return "of unknown version", nil
}

func tryProcess(ctx context.Context, path, dir string) (_ *process, err error) {
	p := &process{ended: make(chan struct{})}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "opsbot-patient-*"); err != nil {
			return nil, err
		}
		p.dir = dir
	}
	if p.port, err = freePort(); err != nil {
		return nil, errors.Join(err, p.removeDir())
	}
	p.cmd = exec.Command(path, "-")
	p.cmd.Dir = dir
	// By standard input: a file would have to be kept, arguments be quoted.
	p.cmd.Stdin = strings.NewReader(settings(p.port))
	said := &tail{}
	p.cmd.Stdout, p.cmd.Stderr = said, said
	dieWithParent(p.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		// The kernel ends the child when the thread that started it ends, not
		// the program; so this goroutine keeps its thread (golang/go#27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = p.cmd.Wait() // how it ended is of no interest: either we killed it, or died says so
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), p.removeDir())
	}
	p.admin = dial(p.addr())
	if err := p.ready(ctx); err != nil {
		_ = p.close()
		return nil, fmt.Errorf("%s on port %d: %w\n%s", path, p.port, err, said)
	}
	return p, nil
}

// settings is redis-server's configuration: nobody else, nothing on disk,
// nothing evicted.
func settings(port int) string {
	return fmt.Sprintf(`bind 127.0.0.1
port %d
databases 1
save ""
appendonly no
maxmemory-policy noeviction
daemonize no
loglevel warning
`, port)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// ready waits until the server answers, and that it is ours: another program
// may have taken the port in between.
func (p *process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := p.admin.Info(ctx, "server").Result()
		if err == nil {
			if !strings.Contains(text, "process_id:"+strconv.Itoa(p.cmd.Process.Pid)+"\r") {
				return errors.New("the port was taken by another Redis")
			}
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-tick.C:
		}
	}
}

func (p *process) name() string          { return "redis-server " + p.version }
func (p *process) addr() string          { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }
func (p *process) died() <-chan struct{} { return p.ended }

func (p *process) limit(ctx context.Context, bytes int64) error {
	return p.admin.ConfigSet(ctx, "maxmemory", strconv.FormatInt(bytes, 10)).Err()
}

func (p *process) close() (err error) {
	p.once.Do(func() {
		// Nothing in it is worth saving, so it need not be asked.
		_ = p.cmd.Process.Kill()
		<-p.ended
		err = errors.Join(p.admin.Close(), p.removeDir())
	})
	return err
}

func (p *process) removeDir() error {
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// A tail keeps the last of what a program says.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - most; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
