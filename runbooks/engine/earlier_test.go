package engine_test

import (
	"fmt"
	"testing"

	"opsbot/runbooks/engine"
)

// A run sees what the newest one before it saved, of those that count.
func TestEarlier(t *testing.T) {
	t.Parallel()
	text := doc("trend", step("1. Look", `
id: look
do: redis.look
target: cache
save: { keys: result.keys, before: 'earlier("look", "keys") ?? -1' }
`))
	b := newBench(t, text)
	other := b.envs[0]
	other.Name, other.Default = "other", false
	b.envs = append(b.envs, other)
	b.serve()
	before := func(keys int, change ...func(*engine.StartRequest)) string {
		t.Helper()
		b.world.set(func(w *world) { w.keys = keys })
		r := b.ended(b.start("trend", change...), engine.Succeeded)
		return fmt.Sprint(r.Attempts[0].Saved["before"])
	}
	dry := func(r *engine.StartRequest) { r.DryRun = true }
	there := func(r *engine.StartRequest) { r.Environment = "other" }
	for i, c := range []struct {
		keys   int
		change []func(*engine.StartRequest)
		want   int
	}{
		{10, nil, -1}, {20, nil, 10}, {30, []func(*engine.StartRequest){dry}, 20}, {40, []func(*engine.StartRequest){there}, -1}, {50, nil, 20}, {60, nil, 50},
	} {
		if got := before(c.keys, c.change...); got != fmt.Sprintf("map[int:%d]", c.want) {
			t.Errorf("run %d saw %s, want %d", i+1, got, c.want)
		}
	}
}
