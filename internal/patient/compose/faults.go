package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/internal/patient/api"
)

// Fault gives faults to every running replica of the API, as the query of its
// /fault: "slow=80ms&err=20". "" ends them all.
func (p *Patient) Fault(ctx context.Context, query string) error {
	urls, err := p.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(urls) == 0 {
		return fault.New(fault.NotFound, "The patient's API has no running container.")
	}
	for _, base := range urls {
		if err := listening(ctx, base); err != nil {
			return err
		}
		if err := setFault(ctx, base, query); err != nil {
			return err
		}
	}
	return nil
}

// listening waits for a replica that was started a moment ago.
func listening(ctx context.Context, base string) error {
	addr := strings.TrimPrefix(base, "http://")
	err := api.Probe(ctx, addr)
	for range 50 {
		if err == nil || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
		err = api.Probe(ctx, addr)
	}
	return failed("Reaching the API", err)
}

func setFault(ctx context.Context, base, query string) error {
	method := http.MethodPost
	if query == "" {
		method = http.MethodDelete
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/fault?"+query, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return failed("Giving the API a fault", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var why struct{ Error string }
		if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&why); err != nil {
			why.Error = resp.Status
		}
		return fault.New(fault.Invalid, "The API refuses the fault %s: %s.", query, why.Error)
	}
	return nil
}

// Scale makes so many replicas of the API and waits until they are healthy.
func (p *Patient) Scale(ctx context.Context, n int) error {
	_, err := p.up(ctx, "--no-deps", "--no-recreate", "--scale", "api="+strconv.Itoa(n), "api")
	return err
}

// Deploy puts the variables into .env, IMAGE_TAG for instance, recreates the
// API's containers with them, and waits until they are healthy.
func (p *Patient) Deploy(ctx context.Context, vars map[string]string) error {
	for name, value := range vars {
		if err := p.SetEnv(name, value); err != nil {
			return err
		}
	}
	n, err := p.containers(ctx, "api")
	if err != nil {
		return err
	}
	_, err = p.up(ctx, "--no-deps", "--scale", fmt.Sprintf("api=%d", max(len(n), 1)), "api")
	return err
}

// FixPort publishes the API on one port instead of a range, for the next up:
// then a second replica finds it taken.
func (p *Patient) FixPort() error {
	text, err := os.ReadFile(p.File())
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(p.env["API_PORTS"], "-")
	changed := strings.Replace(string(text), "${API_PORTS}", first, 1)
	return os.WriteFile(p.File(), []byte(changed), 0o644)
}

// FillDisk leaves so many bytes free on the database's disk. It takes a patient
// with Options.Disk: the machine's own disk is not filled. 0 or less frees it
// again.
func (p *Patient) FillDisk(ctx context.Context, leave int64) error {
	text, err := os.ReadFile(p.File())
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "type: tmpfs") {
		return fault.New(fault.Invalid, "The patient %s has no disk of its own to fill.", p.name)
	}
	_, err = p.Compose(ctx, "exec", "-T", "disk", "sh", "-c", `rm -f /disk/filling
[ "$1" -le 0 ] && exit 0
free=$(df -P -B1 /disk | awk 'NR==2 {print $4}')
[ "$free" -gt "$1" ] && fallocate -l $((free - $1)) /disk/filling || true`, "sh", strconv.FormatInt(leave, 10))
	return err
}

// BreakSaves makes every BGSAVE of Redis fail until it is started again: it may
// not write into its folder.
func (p *Patient) BreakSaves(ctx context.Context) error {
	_, err := p.Compose(ctx, "exec", "-T", "cache", "chown", "root:root", "/data")
	return err
}

// InvalidIndex leaves an index of reconciliation_logs that is not valid, as a
// CREATE INDEX CONCURRENTLY that failed does.
func (p *Patient) InvalidIndex(ctx context.Context, name string) error {
	_, err := p.SQL(ctx, "bot_production", fmt.Sprintf("SET ROLE app;\nCREATE UNIQUE INDEX CONCURRENTLY %q ON reconciliation_logs (user_id);", name))
	if err == nil || !strings.Contains(err.Error(), "could not create unique index") {
		return fmt.Errorf("leave an invalid index: it did not fail as it should: %w", err)
	}
	return nil
}
