package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"opsbot/internal/patient/api"
	"opsbot/internal/patient/compose"
	"opsbot/internal/patient/traffic"
	"opsbot/runbooks/engine"
)

// upstream is what nginx sends its traffic to, by its file.
func (w *ward) upstream(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.body.Dir(), "nginx", "upstream", "api.conf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// greens are the containers that were started beside Compose's.
func (w *ward) greens(t *testing.T) []string {
	t.Helper()
	return strings.Fields(w.docker(t, "ps", "-aq", "--no-trunc", "--filter", "label=opsbot.color=green", "--filter", "network="+w.body.Project()+"_default"))
}

// A new version takes over under load, and no request fails. One that is bad
// before the switch never gets traffic, one that turns bad after it is taken
// back without another question, and what nginx or its proof refuses is undone.
func TestBlueGreenInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 5000})
	release := func(r compose.Release) string {
		t.Helper()
		tag, err := w.body.Release(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return compose.APIImage + ":" + tag
	}
	good, bad := release(compose.Release{Version: "2.1.0"}), release(compose.Release{Version: "2.2.0", Ailments: "err=30"})
	dead := release(compose.Release{Version: "2.3.0", ExitsWith: "1"})
	blue := w.containers(t, "api")[0]
	// A machine that is busy with other tests is slow: times are not what is
	// tested here.
	line := func(image string) string {
		return "blue-green-deployment image=" + image + " monitor=30s drain=3m slack=5000 p95_fail=10000"
	}
	// asBefore checks that blue serves alone, and was not touched.
	asBefore := func(t *testing.T) {
		t.Helper()
		if g := w.greens(t); len(g) > 0 {
			t.Errorf("green is left: %s", g)
		}
		if now := w.containers(t, "api"); !slices.Equal(now, []string{blue}) || w.inspect(t, "api", "{{.State.Status}}") != "running" {
			t.Errorf("blue is %s, was %s", now, blue)
		}
		resp, err := http.Get(w.body.URL() + "/api/v1/health")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if v, who := resp.Header.Get("X-Version"), resp.Header.Get("X-Instance"); v != "2.0.0" || who != blue[:12] {
			t.Errorf("%s of %s answers, want 2.0.0 of blue", who, v)
		}
	}

	t.Run("does not start", func(t *testing.T) {
		r := w.visit(t).run(line(dead), nil)
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"green": "fail", "switch": "skipped"}})
		asBefore(t)
	})
	t.Run("bad before the switch", func(t *testing.T) {
		load := w.body.Load(traffic.Options{Fresh: true})
		defer load.Stop()
		r := w.visit(t).run(line(bad), nil)
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"green": "pass", "switch": "skipped", "back_drop": "pass"}, report: []string{"the traffic never left blue"}})
		if c := load.Stop(); c.Failed > 0 || c.Versions["2.2.0"] > 0 {
			t.Errorf("users noticed: %+v", c)
		}
		asBefore(t)
	})
	t.Run("its name is gone", func(t *testing.T) {
		r := w.visit(t).run(line(good), replies{"switch": {{}, {before: func() {
			w.docker(t, "network", "disconnect", w.body.Project()+"_default", w.greens(t)[0])
		}}}})
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"switch": "fail"}})
		if said := r.found("switch"); !strings.Contains(said, "nginx refuses its configuration") {
			t.Errorf("the switch says %q", said)
		}
		if g := strings.Fields(w.docker(t, "ps", "-aq", "--filter", "label=opsbot.color=green", "--filter", "ancestor="+good)); len(g) > 0 {
			t.Errorf("green is left: %s", g)
		}
		asBefore(t)
	})
	t.Run("another upstream", func(t *testing.T) {
		before := w.upstream(t)
		r := w.visit(t, func(environment string) string {
			return strings.Replace(environment, "upstream: api\n", "upstream: elsewhere\n", 1)
		}).run(line(good), nil)
		r.check(t, wants{state: engine.Failed, marks: map[string]string{"switch": "fail"}})
		if after := w.upstream(t); after != before {
			t.Errorf("nginx's file is\n%s\nwant\n%s", after, before)
		}
		asBefore(t)
	})
	t.Run("bad after the switch", func(t *testing.T) {
		load := w.body.Load(traffic.Options{Pace: 25 * time.Millisecond})
		defer load.Stop()
		sick := make(chan error, 1)
		stop := make(chan struct{})
		go func() { sick <- w.sickenGreen("err=30", stop) }()
		defer close(stop)
		r := w.visit(t).run(line(good), nil)
		if err := <-sick; err != nil {
			t.Fatal(err)
		}
		r.check(t, wants{state: engine.Failed, verdict: "fail", asked: []string{"schema", "green", "switch"},
			marks: map[string]string{"switch": "pass", "watch": "fail", "back_switch": "pass", "back_drop": "pass"}, report: []string{"Taken back"}})
		asBefore(t)
		c := load.Stop()
		if c.Codes[500] != c.Failed || c.Failed == 0 || c.Versions["2.1.0"] == 0 {
			t.Errorf("the load counted %+v; want green's own errors and no other", c)
		}
		t.Logf("the load: %+v", c)
	})
	t.Run("slow after the switch", func(t *testing.T) {
		load := w.body.Load(traffic.Options{Pace: 25 * time.Millisecond})
		defer load.Stop()
		sick := make(chan error, 1)
		stop := make(chan struct{})
		go func() { sick <- w.sickenGreen("slow=1s", stop) }()
		defer close(stop)
		r := w.visit(t).run(strings.Replace(line(good), "p95_fail=10000", "p95_fail=500", 1), nil)
		if err := <-sick; err != nil {
			t.Fatal(err)
		}
		r.check(t, wants{state: engine.Failed, asked: []string{"schema", "green", "switch"},
			marks: map[string]string{"switch": "pass", "watch": "fail", "back_switch": "pass", "back_drop": "pass"}, outcome: "95 of 100 requests take up to"})
		asBefore(t)
		if c := load.Stop(); c.Failed > 0 || c.Versions["2.1.0"] == 0 {
			t.Errorf("the load counted %+v", c)
		}
	})
	t.Run("green moves the schema", func(t *testing.T) {
		r := w.visit(t).run(line(good), replies{"green": {{before: func() {
			w.sql(t, "UPDATE alembic_version SET version_num = 'moved'")
		}}}})
		w.sql(t, "UPDATE alembic_version SET version_num = '"+api.Head+"'")
		r.check(t, wants{state: engine.Failed, asked: []string{"schema", "green", "back_drop"}, marks: map[string]string{"head_green": "fail", "switch": "skipped"},
			outcome: "green has moved the schema from " + api.Head + " to moved"})
		asBefore(t)
	})
	t.Run("good", func(t *testing.T) {
		load := w.body.Load(traffic.Options{Fresh: true, Pace: 20 * time.Millisecond})
		defer load.Stop()
		v := w.visit(t)
		busy := make(chan error, 1)
		stop := make(chan struct{})
		go func() { busy <- v.keepBlueBusy(stop) }()
		r := v.run(line(good), nil)
		close(stop)
		if err := <-busy; err != nil {
			t.Error(err)
		}
		// Blue is not on record: nobody can tell which schema it was made for.
		r.check(t, wants{state: engine.Succeeded, verdict: "warn", asked: []string{"schema", "green", "switch", "stop_blue", "env"},
			marks: map[string]string{"switch": "pass", "watch": "pass", "drain": "pass", "stop_blue": "pass", "record": "pass"}, report: []string{"✓ blue drained, ✓ blue stopped", "on record as D1"}})
		if got := r.found("drain"); !strings.Contains(got, "http_requests_in_progress 0") {
			t.Errorf("the drain ends with %q", got)
		}
		g := w.greens(t)
		if len(g) != 1 {
			t.Fatalf("green is %s", g)
		}
		if got := w.inspect(t, "api", "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 0" {
			t.Errorf("blue is %s, want exited 0", got)
		}
		id := w.docker(t, "inspect", "--format", "{{.Image}}", g[0])
		if _, out, _ := v.opsbot("", "deployments", "list", "--output", "json"); !strings.Contains(out, id) {
			t.Errorf("the deployment on record is not %s: %s", id, out)
		}
		c := load.Stop()
		if c.Failed > 0 || c.Instances[blue[:12]] == 0 || c.Instances[g[0][:12]] == 0 {
			t.Errorf("the load counted %+v", c)
		}
		t.Logf("the load: %d requests, %d failed, by %v", c.Sent, c.Failed, c.Instances)
	})
}

// sickenGreen waits until nginx sends to green, and gives it a fault then.
func (w *ward) sickenGreen(fault string, stop <-chan struct{}) error {
	if moved, err := w.moved(stop); err != nil || !moved {
		return err
	}
	// Not before the proof, which only asks for health.
	return w.faultGreen(fault)
}

// moved waits until nginx sends to green; false: stop came first.
func (w *ward) moved(stop <-chan struct{}) (bool, error) {
	file := filepath.Join(w.body.Dir(), "nginx", "upstream", "api.conf")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(text), "green") {
			return err == nil, err
		}
		select {
		case <-tick.C:
		case <-stop:
			return false, nil
		}
	}
}

// faultGreen gives green a fault.
func (w *ward) faultGreen(query string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Post("http://127.0.0.1:"+w.body.Env("GREEN_PORT")+"/fault?"+query, "", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// keepBlueBusy gives blue slow requests once the traffic has moved, until opsbot
// is seen to wait for their end. Each must be answered. Green is slow as well,
// and under load: what it answers meanwhile must not be taken for blue's.
func (v *visit) keepBlueBusy(stop <-chan struct{}) error {
	ctx := v.t.Context()
	blue, err := v.ward.body.Replicas(ctx)
	if err != nil {
		return err
	}
	if moved, err := v.ward.moved(stop); err != nil || !moved {
		return err
	}
	if err := v.ward.faultGreen("slow=300ms"); err != nil {
		return err
	}
	if err := v.ward.body.Fault(ctx, "slow=2s"); err != nil { // of Compose's: blue
		return err
	}
	var g errgroup.Group
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for waits := false; !waits; {
		g.Go(func() error { return v.slowly(blue[0]) })
		select {
		case <-tick.C:
		case <-stop:
			return errors.Join(errors.New("opsbot did not wait for blue"), g.Wait())
		}
		r, _ := v.told(1)
		waits = r.mark("drain") == "running" && strings.Contains(r.found("drain"), "http_requests_in_progress ")
	}
	return g.Wait()
}

// slowly asks an API for something that takes its time.
func (v *visit) slowly(base string) error {
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, base+"/api/v1/reconciliation/status?user=u001", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+v.ward.body.Token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("blue was stopped before it had finished: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("blue answers %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// One deployment after the other: the first is finished by a fresh deployment
// of the version that green runs, while users notice nothing; then there can be
// another one.
func TestTwoDeploymentsInContainers(t *testing.T) {
	t.Parallel()
	w := newWard(t, compose.Options{Rows: 1000})
	release := func(version string) string {
		t.Helper()
		tag, err := w.body.Release(t.Context(), compose.Release{Version: version})
		if err != nil {
			t.Fatal(err)
		}
		return tag
	}
	first, second := release("2.1.0"), release("2.2.0")
	line := func(tag string) string {
		return "blue-green-deployment image=" + compose.APIImage + ":" + tag + " monitor=10s drain=3m slack=5000 p95_fail=10000"
	}
	fresh := func(tag string) string {
		return "fresh-deployment image_tag=" + tag + " indexes=users_pkey"
	}
	// tells puts the tag into the env file, as the manual step asks.
	tells := func(tag string) reply {
		return reply{before: func() {
			if err := w.body.SetEnv("IMAGE_TAG", tag); err != nil {
				t.Error(err)
			}
		}}
	}
	load := w.body.Load(traffic.Options{Fresh: true, Pace: 50 * time.Millisecond})
	defer load.Stop()
	v := w.visit(t)
	r := v.run(line(first), replies{"env": {tells(first)}})
	r.check(t, wants{state: engine.Succeeded, asked: []string{"schema", "green", "switch", "stop_blue", "env"}})
	green := w.greens(t)
	if len(green) != 1 {
		t.Fatalf("green is %s", green)
	}
	id := w.docker(t, "inspect", "--format", "{{.Image}}", green[0])

	// Neither another one nor another version before this one is finished.
	r = v.run(line(second), nil)
	r.check(t, wants{state: engine.Failed, asked: []string{}, marks: map[string]string{"blue": "fail"}, outcome: "fresh-deployment"})
	r = v.run(fresh(second), nil)
	r.check(t, wants{state: engine.Failed, asked: []string{"data"}, marks: map[string]string{"there": "fail", "migrate_existing": "skipped"},
		outcome: "a green instance serves (" + compose.APIImage + ":" + first + ")"})

	r = v.run(fresh(first), nil)
	r.check(t, wants{state: engine.Succeeded, asked: []string{"data", "migrate_existing", "up", "switch", "drop"},
		marks:  map[string]string{"config": "pass", "switch": "pass", "smoke": "pass", "drop": "pass", "env": "skipped"},
		report: []string{"✓ traffic moved from green, ✓ green removed"}})
	if g := w.greens(t); len(g) > 0 {
		t.Errorf("green is left: %s", g)
	}
	if got := w.inspect(t, "api", "{{.State.Health.Status}} {{.Image}}"); got != "healthy "+id {
		t.Errorf("Compose's API is %s, want healthy %s", got, id)
	}
	if text := w.upstream(t); strings.Contains(text, "green") {
		t.Errorf("nginx's file is\n%s", text)
	}

	r = v.run(line(second), replies{"env": {tells(second)}})
	r.check(t, wants{state: engine.Succeeded, verdict: "pass", asked: []string{"green", "switch", "stop_blue", "env"}})

	// The quick way back, from the button of the run that has succeeded.
	r = v.accept(r, "blue-green-deployment", replies{"back_env": {tells(first)}})
	r.check(t, wants{state: engine.Succeeded, asked: []string{"back_start", "back_switch", "back_drop", "back_env"}, report: []string{"Taken back"}})
	if g := w.greens(t); len(g) > 0 {
		t.Errorf("green is left: %s", g)
	}
	if got := w.inspect(t, "api", "{{.State.Health.Status}} {{.Image}}"); got != "healthy "+id {
		t.Errorf("blue is %s, want healthy %s", got, id)
	}
	if _, out, _ := v.opsbot("", "deployments", "list", "--output", "json"); !strings.Contains(out, "blue again") {
		t.Errorf("on record is %s", out)
	}

	// A schema that has moved since is not taken for granted.
	w.sql(t, "UPDATE alembic_version SET version_num = 'newer'")
	r = v.run(line(second), replies{"schema": {{choice: "stop"}}})
	r.check(t, wants{state: engine.Canceled, asked: []string{"schema"}, marks: map[string]string{"head": "warn", "green": "skipped"}})
	if said := r.found("head"); !strings.Contains(said, "when blue was put into service it was "+api.Head) {
		t.Errorf("of the schema it says %q", said)
	}
	c := load.Stop()
	if c.Failed > 0 || c.Versions["2.0.0"] == 0 || c.Versions["2.1.0"] == 0 || c.Versions["2.2.0"] == 0 {
		t.Errorf("the load counted %+v", c)
	}
	t.Logf("the load: %d requests, %d failed, by %v", c.Sent, c.Failed, c.Versions)
}
