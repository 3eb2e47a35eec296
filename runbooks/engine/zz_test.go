package engine_test
import ("testing";"encoding/json";"fmt";"opsbot/runbooks/engine")
func TestZZ(t *testing.T){
	b := newBench(t, fix); b.serve(); run := b.start("fix")
	b.asked(run, engine.Confirm)
	for _, c := range b.said(){ d,_ := json.Marshal(c); fmt.Println(c.ContentKind(), c.Summary(), "\n   ", string(d)) }
	b.pass(run); b.ended(run, engine.Succeeded)
	for _, c := range b.said(){ d,_ := json.Marshal(c); fmt.Println(c.ContentKind(), c.Summary(), "\n   ", string(d)) }
}
