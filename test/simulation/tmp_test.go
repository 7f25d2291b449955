package simulation
import ("testing";"fmt";"os")
func TestTmp(t *testing.T) {
	s := simulate(envNumber(t,"SEED",1), plant{})
	f,_ := os.Create("/tmp/simtrace.txt"); fmt.Fprintln(f, s.tail(1000000)); f.Close()
	fmt.Println(s.now, s.failed, s.flow.produced, len(s.log.entries), len(s.position.entries), len(s.offset.entries), len(s.config.entries), len(s.data[0].entries), len(s.data[1].entries), s.flow.hidden, len(s.flow.excused), s.counter)
	for i := range s.flow.confirmed { fmt.Print(s.flow.confirmed[i].upTo, " ") }
	fmt.Println()
}
func TestTmp2(t *testing.T) {
	s := simulate(envNumber(t,"SEED",1), plant{})
	for _, p := range s.procs { if p.alive && p.fatal==nil {
		v := p.m.View()
		ses, ok := p.m.Session()
		fmt.Println(p.id, ses, ok, "homes", v.Homes, "floors", v.Floors, "asked", v.Asked, "next", p.worker.stores.config.replica.Next(), len(s.config.entries))
		for _, c := range p.worker.stores.configs.All() { fmt.Println("  ", c.Name, c.Epoch, c.Revision, c.State, c.Tasks) }
		for u, o := range v.Owners { fmt.Println("    ", u, o) }
	}}
}
func TestTmp3(t *testing.T) {
	for seed := range uint64(100) {
	a, b := simulate(seed, plant{}), simulate(seed, plant{})
	for i := range a.trace { if i >= len(b.trace) || a.trace[i] != b.trace[i] { t.Errorf("seed %d line %d\n%s\n%s", seed, i, a.trace[i], b.trace[min(i,len(b.trace)-1)]); break } }
	}
}
func TestTmp4(t *testing.T) {
	n := 0
	from := envNumber(t,"FROM",0)
	for seed := from; seed < from+envNumber(t,"N",100); seed++ {
		if a := simulate(seed, plant{}); a.failed != nil { n++; m := a.failed.Error(); fmt.Println(seed, m[:min(len(m),300)]) }
	}
	fmt.Println("failed", n)
}
