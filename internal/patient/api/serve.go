package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// drainTime is how long requests under way may take after SIGTERM.
const drainTime = 20 * time.Second

// Settings are what a container's environment says; its variables are named
// beside the fields.
type Settings struct {
	Addr     string   // PATIENT_ADDR; default 0.0.0.0:8000
	Database string   // DATABASE_URL
	Redis    string   // REDIS_URL
	Secret   string   // JWT_SECRET_KEY
	Version  string   // PATIENT_VERSION
	Faults   bool     // PATIENT_FAULTS=1: /fault exists
	Ailments Ailments // PATIENT_AILMENTS, as the query of /fault: err=30&slow=80ms
	Exit     string   // PATIENT_EXIT: a code to end with at each start; "" is not to
	State    string   // PATIENT_STATE: folder of what a container remembers; default the temporary one
}

// Serve runs a container's API until SIGTERM, and returns its exit code.
// Requests are noted on out, all else on errs, as Uvicorn does.
func Serve(ctx context.Context, s Settings, out, errs io.Writer) (int, error) {
	logger := slog.New(slog.NewTextHandler(errs, nil))
	marker := filepath.Join(s.State, "patient-crash")
	if s.State == "" {
		marker = filepath.Join(os.TempDir(), "patient-crash")
	}
	if code, dies := crashing(marker); dies {
		logger.Error("application startup failed", "error", "the state in "+marker+" is broken", "exit", code)
		return code, nil
	}
	if s.Exit != "" {
		code, err := number(s.Exit, 0, 125)
		logger.Error("application startup failed", "error", "this release cannot start", "exit", code)
		return code, err
	}
	options, err := redis.ParseURL(s.Redis)
	if err != nil {
		return 1, fmt.Errorf("read REDIS_URL: %w", err)
	}
	quiet(options)
	cache := redis.NewClient(options)
	defer cache.Close()
	host, _ := os.Hostname()
	database, err := OpenPostgres(ctx, s.Database, "api-"+host)
	if err != nil {
		return 1, err
	}
	defer database.Close()

	ended := make(chan int, 1)
	o := Options{Cache: cache, Database: database, Secret: s.Secret, Instance: host, Version: s.Version, Log: logger}
	faults := NewFaults(s.Database, cache, marker, func(code int) {
		select {
		case ended <- code:
		default:
		}
	})
	defer faults.Close()
	if s.Faults {
		o.Faults = faults
	}
	if s.Ailments != (Ailments{}) { // a release that is ill by itself
		o.Faults = faults
		if err := faults.Set(ctx, s.Ailments); err != nil {
			logger.Error("fault", "error", err)
		}
	}
	return listen(ctx, s.Addr, o, ended, out, errs)
}

// listen serves until a signal, or until a fault ends it with a code.
func listen(ctx context.Context, addr string, o Options, ended <-chan int, out, errs io.Writer) (int, error) {
	if addr == "" {
		addr = "0.0.0.0:8000"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return 1, err
	}
	server := &http.Server{
		Handler:           noted(New(o), out),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          log.New(errs, "ERROR:    ", 0),
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	fmt.Fprintf(errs, "INFO:     Started server process [%d]\n", os.Getpid())
	if o.Secret == "" {
		o.Log.Error("jwt: JWT_SECRET_KEY is empty, every token will be refused")
	}
	fmt.Fprintf(errs, "INFO:     Uvicorn running on http://%s (Press CTRL+C to quit)\n", addr)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	for {
		select {
		case err := <-failed:
			return 1, err
		case code := <-ended:
			_ = server.Close()
			return code, nil
		case <-ctx.Done():
		case s := <-signals:
			if o.Faults != nil && o.Faults.Now().Deaf {
				o.Log.Warn("signal ignored", "signal", s)
				continue
			}
		}
		fmt.Fprintln(errs, "INFO:     Shutting down")
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := server.Shutdown(end); err != nil {
			return 1, fmt.Errorf("requests were cut off: %w", errors.Join(err, server.Close()))
		}
		fmt.Fprintln(errs, "INFO:     Application shutdown complete.")
		return 0, nil
	}
}

// noted writes one line for each request but those of the health check.
func noted(next http.Handler, out io.Writer) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &codeWriter{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r)
		if r.UserAgent() == probeAgent {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "INFO:     %s - \"%s %s %s\" %d %s\n", r.RemoteAddr, r.Method, r.URL.RequestURI(), r.Proto, seen.code, http.StatusText(seen.code))
	})
}

// A codeWriter remembers the status of an answer.
type codeWriter struct {
	http.ResponseWriter
	code int
}

func (w *codeWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

const probeAgent = "patient-probe"

// Probe asks the API on this machine for its health: nil if it is healthy.
func Probe(ctx context.Context, addr string) error {
	if addr == "" {
		addr = "127.0.0.1:8000"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/health", nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", probeAgent)
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answers %s", resp.Status)
	}
	return nil
}

// quiet makes a client fail at once instead of trying again, so that the
// patient shows its trouble.
func quiet(o *redis.Options) {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout = 2 * time.Second
	o.ReadTimeout = 2 * time.Second
	o.WriteTimeout = 2 * time.Second
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
