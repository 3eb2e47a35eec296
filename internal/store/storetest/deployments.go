package storetest

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opsbot/internal/deployment"
	"opsbot/internal/fault"
	"opsbot/internal/store"
	"opsbot/runbooks/engine"
)

var deploymentTests = map[string]func(*testing.T, *store.Store){
	"DeploymentsAreKept":     testDeploymentsAreKept,
	"DeploymentOncePerStep":  testDeploymentOncePerStep,
	"DeploymentLastAndPrior": testDeploymentLastAndPrior,
}

// deployed is an image of the service as the run's step puts it on record.
func deployed(run *engine.Run, step, service, image string) deployment.Deployment {
	return deployment.Deployment{Run: run.ID, Step: step, Service: service, Image: "app:" + image, ImageID: "sha256:" + image,
		Digest: "app@sha256:d" + image, ConfigHash: "c", MigrationHead: "m", Note: "n"}
}

func recordIt(t *testing.T, s *store.Store, d deployment.Deployment) *deployment.Deployment {
	t.Helper()
	out, err := s.Deployments().Record(t.Context(), d)
	if err != nil {
		t.Fatalf("Record: %v", err)
	}
	return out
}

func testDeploymentsAreKept(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	got := recordIt(t, s, deployed(run, "put", "api", "1"))
	want := deployed(run, "put", "api", "1")
	want.Number, want.Environment, want.At, want.By, want.RunNumber, want.Runbook = 1, "demo", got.At, Ann, run.Number, "cache-fix"
	if diff := cmp.Diff(&want, got); diff != "" || got.At.IsZero() {
		t.Errorf("Record at %v (-want +got):\n%s", got.At, diff)
	}
	for _, ref := range []string{"D1", "d1", "1"} {
		if found, err := s.Deployments().Find(t.Context(), ref); err != nil || !cmp.Equal(&want, found) {
			t.Errorf("Find(%s) = %+v, %v", ref, found, err)
		}
	}
	for _, ref := range []string{"D2", "", "R1", "D99999999999999999999"} {
		if _, err := s.Deployments().Find(t.Context(), ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Find(%q) = %v, want NotFound", ref, err)
		}
	}
	elsewhere := NewRun()
	elsewhere.Environment = "production"
	recordIt(t, s, deployed(create(t, s, elsewhere, engine.Change{}), "put", "api", "2"))
	recordIt(t, s, deployed(run, "put", "db", "3"))
	for _, c := range []struct {
		q    deployment.Query
		want []int64
	}{
		{deployment.Query{}, []int64{3, 2, 1}},
		{deployment.Query{Limit: 1}, []int64{3}},
		{deployment.Query{Environment: "demo"}, []int64{3, 1}},
		{deployment.Query{Service: "api"}, []int64{2, 1}},
		{deployment.Query{Environment: "production", Service: "db"}, nil},
	} {
		list, err := s.Deployments().List(t.Context(), c.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, d := range list {
			got = append(got, d.Number)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("List(%+v) (-want +got):\n%s", c.q, diff)
		}
	}
	rows, err := s.Audit().List(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for _, r := range rows {
		if r.Act == "deploy" && r.Actor.ID == Ann.ID {
			entries++
		}
	}
	if entries != 3 {
		t.Errorf("the audit log has %d deployments, want 3", entries)
	}
}

func testDeploymentOncePerStep(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d, err := s.Deployments().Record(t.Context(), deployed(run, "put", "api", "1")); err != nil || d.Number != 1 {
				t.Errorf("Record = %+v, %v; want D1", d, err)
			}
		})
	}
	wg.Wait()
	if d := recordIt(t, s, deployed(run, "again", "api", "1")); d.Number != 2 {
		t.Errorf("another step's deployment is D%d, want D2: no number is lost", d.Number)
	}
	dry := NewRun()
	dry.DryRun = true
	if d := recordIt(t, s, deployed(create(t, s, dry, engine.Change{}), "put", "api", "9")); d.Number != 0 {
		t.Errorf("a dry run put D%d on record", d.Number)
	}
	if list, err := s.Deployments().List(t.Context(), deployment.Query{}); err != nil || len(list) != 2 {
		t.Errorf("there are %d deployments, %v; want 2", len(list), err)
	}
	if _, err := s.Deployments().Record(t.Context(), deployment.Deployment{Run: "none"}); err == nil {
		t.Error("a run that is not there put something on record")
	}
}

func testDeploymentLastAndPrior(t *testing.T, s *store.Store) {
	run := create(t, s, NewRun(), engine.Change{})
	want := func(last, before string) {
		t.Helper()
		l, b, err := s.Deployments().Last(t.Context(), run.ID, "api")
		if err != nil {
			t.Fatal(err)
		}
		name := func(d *deployment.Deployment) string {
			if d == nil {
				return ""
			}
			return d.Tag()
		}
		if name(l) != last || name(b) != before {
			t.Errorf("Last = %q and %q, want %q and %q", name(l), name(b), last, before)
		}
	}
	want("", "")
	recordIt(t, s, deployed(run, "a", "api", "1"))
	recordIt(t, s, deployed(run, "a", "db", "7"))
	want("1", "")
	recordIt(t, s, deployed(run, "b", "api", "2"))
	recordIt(t, s, deployed(run, "c", "api", "2"))
	want("2", "1")
	elsewhere := NewRun()
	elsewhere.Environment = "production"
	recordIt(t, s, deployed(create(t, s, elsewhere, engine.Change{}), "a", "api", "3"))
	want("2", "1")
	recordIt(t, s, deployed(run, "d", "api", "1"))
	want("1", "2")
}
