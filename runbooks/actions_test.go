package runbooks_test

import (
	"context"
	"io"
	"time"

	"opsbot/runbooks"
)

// testActions have the arguments and results of the real ones and do nothing:
// the language only needs to know their shapes.
func testActions() []runbooks.Action {
	var list []runbooks.Action
	for _, s := range []runbooks.Spec{
		{Name: "redis.info", Timeout: 10 * time.Second, Result: redisInfo{}},
		{Name: "redis.count_keys", Timeout: time.Minute, Args: countArgs{}, Result: countResult{}},
		{Name: "redis.hit_rate", Args: rateArgs{}, Result: rateResult{}},
		{Name: "redis.flush", Effect: runbooks.Destructive, Args: flushArgs{}, Result: flushResult{}},
		{Name: "http.warm", Args: warmArgs{}, Result: warmResult{}},
		{Name: "http.get", Args: getArgs{}, Result: getResult{}},
		{Name: "docker.logs", Args: logsArgs{}, Result: logsResult{}},
		{Name: "docker.restart", Effect: runbooks.Change, Args: restartArgs{}, Result: restartResult{}},
		{Name: "docker.stats", Args: statsArgs{}, Result: statsResult{}},
		{Name: "docker.env", Args: envArgs{}, Result: envResult{}},
		{Name: "docker.exec", Effect: runbooks.Change, Args: execArgs{}, Result: execResult{}},
		{Name: "compose.up", Effect: runbooks.Change, Args: upArgs{}, Result: execResult{}},
		{Name: "compose.scale", Effect: runbooks.Change, Args: scaleArgs{}, Result: execResult{}},
		{Name: "postgres.ping", Result: pingResult{}},
		{Name: "postgres.query", Args: sqlArgs{}, Result: sqlResult{}},
		{Name: "prometheus.query", Args: queryArgs{}, Result: queryResult{}},
		{Name: "deployment.last", Args: deployedArgs{}, Result: deployedResult{}},
		{Name: "exec.run", Effect: runbooks.Change, Args: commandArgs{}, Result: execResult{}},
	} {
		list = append(list, testAction{s})
	}
	return list
}

type deployedArgs struct {
	Service string `arg:"service" required:"true"`
}

type deployedResult struct {
	Last struct {
		Found   bool   `json:"found"`
		ImageID string `json:"image_id"`
	} `json:"last"`
}

type testAction struct{ spec runbooks.Spec }

func (a testAction) Spec() runbooks.Spec { return a.spec }

func (a testAction) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return a.spec.Result, nil
}

type redisInfo struct {
	Role         string        `json:"role"`
	Loading      bool          `json:"loading"`
	LastSaveOK   bool          `json:"last_save_ok"`
	Clients      int           `json:"clients"`
	UsedMemory   int           `json:"used_memory"`
	MaxMemory    int           `json:"max_memory"`
	Policy       string        `json:"policy"`
	EvictedKeys  int           `json:"evicted_keys"`
	Uptime       time.Duration `json:"uptime"`
	RunID        string        `json:"run_id"`
	NotForPeople string        `json:"-"`
}

type countArgs struct {
	Pattern string `arg:"pattern" required:"true" help:"glob of the keys"`
	Sample  int    `arg:"sample" default:"1000" min:"1" max:"100000"`
}

type countResult struct {
	Matched  int            `json:"matched"`
	Total    int            `json:"total"`
	Complete bool           `json:"complete"`
	NoTTLPct *float64       `json:"no_ttl_pct"`
	Types    map[string]int `json:"types"`
}

type rateArgs struct {
	Window time.Duration `arg:"window" default:"30s" min:"5s" max:"120s"`
}

type rateResult struct {
	Hits    int      `json:"hits"`
	Misses  int      `json:"misses"`
	Lookups int      `json:"lookups"`
	Rate    *float64 `json:"rate"`
	Reset   bool     `json:"reset"`
}

type flushArgs struct {
	Mode    string   `arg:"mode" required:"true" values:"prefix|all"`
	Pattern string   `arg:"pattern"`
	Types   []string `arg:"types" default:"string" values:"string|hash|list|set|zset|stream"`
}

type flushResult struct {
	Deleted     int `json:"deleted"`
	Skipped     int `json:"skipped"`
	TotalBefore int `json:"total_before"`
	TotalAfter  int `json:"total_after"`
}

type warmArgs struct {
	List        string `arg:"list" required:"true"`
	Concurrency int    `arg:"concurrency" default:"2" min:"1" max:"16"`
	RPS         int    `arg:"rps" default:"5" min:"1" max:"100"`
}

type warmResult struct {
	OK     int `json:"ok"`
	Failed int `json:"failed"`
}

type getArgs struct {
	Path    string            `arg:"path" url:"path" required:"true"`
	Headers map[string]string `arg:"headers"`
}

type getResult struct {
	Code int           `json:"code"`
	Took time.Duration `json:"took"`
}

type logsArgs struct {
	Service string        `arg:"service" required:"true"`
	Since   time.Duration `arg:"since" default:"15m"`
	Lines   int           `arg:"lines" default:"500" max:"5000"`
	Match   string        `arg:"match"`
}

type logsResult struct {
	Lines []string `json:"lines"`
}

type restartArgs struct {
	Service string        `arg:"service" required:"true"`
	Grace   time.Duration `arg:"grace" default:"10s"`
}

type restartResult struct {
	Killed       bool           `json:"killed"`
	HealthyAfter *time.Duration `json:"healthy_after"`
}

type statsArgs struct {
	Service string        `arg:"service" required:"true"`
	For     time.Duration `arg:"for" default:"2s"`
}

type statsResult struct {
	CPU      float64        `json:"cpu_pct_of_capacity"`
	Mem      int            `json:"mem_bytes"`
	MemLimit *float64       `json:"mem_pct_limit"`
	Replicas []statsReplica `json:"replicas"`
}

type statsReplica struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu"`
}

type envArgs struct {
	Service string   `arg:"service" required:"true"`
	Keys    []string `arg:"keys" required:"true"`
}

type envResult struct {
	Set    map[string]bool `json:"set"`
	Length map[string]int  `json:"length"`
}

type execArgs struct {
	Service string   `arg:"service" required:"true"`
	Command []string `arg:"command" required:"true"`
}

type execResult struct {
	Code int `json:"code"`
}

type upArgs struct {
	Service  string `arg:"service" required:"true"`
	Recreate bool   `arg:"recreate"`
}

type scaleArgs struct {
	Service  string `arg:"service" required:"true"`
	Replicas int    `arg:"replicas" required:"true" min:"0" max:"50"`
}

type pingResult struct {
	Writable bool   `json:"writable"`
	Cause    string `json:"cause"`
}

type sqlArgs struct {
	Name    string   `arg:"name"`
	SQL     string   `arg:"sql"`
	Args    []string `arg:"args"`
	Columns []string `arg:"columns"`
}

type sqlResult struct {
	Columns []string         `json:"columns"`
	Rows    []map[string]any `json:"rows"`
}

type queryArgs struct {
	Name  string `arg:"name"`
	Query string `arg:"query"`
}

type queryResult struct {
	Value  *float64 `json:"value"`
	Series []sample `json:"series"`
}

type sample struct {
	Labels map[string]string `json:"labels"`
	Value  *float64          `json:"value"`
}

type commandArgs struct {
	Command string   `arg:"command" required:"true"`
	Args    []string `arg:"args"`
}
