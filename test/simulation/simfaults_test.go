package member

func (s *sim) crash(p *proc) {
	s.tracef("crash %s", p.id)
	p.alive, p.inbox = false, nil
	s.dropHolds(p)
}

func (s *sim) freeze(p *proc) {
	s.tracef("freeze %s", p.id)
	p.frozen = true
}

func (s *sim) thaw(p *proc) {
	if !p.frozen {
		return
	}
	s.tracef("thaw %s", p.id)
	p.frozen = false
	inbox := p.inbox
	p.inbox = nil
	for _, fn := range inbox {
		s.run(p, fn)
	}
	s.wake(p)
}

func (s *sim) setDown(down bool) {
	s.tracef("log down=%t", down)
	s.down = down
	if down {
		s.conn++
	}
	s.wakeAll()
}

func (s *sim) setCut(p *proc, cut bool) {
	s.tracef("cut %s=%t", p.id, cut)
	p.cut = cut
	p.conn = -1
	s.wake(p)
}

func (s *sim) wakeAll() {
	for _, p := range s.procs {
		s.wake(p)
	}
}

// live returns the processes that run, by worker id.
func (s *sim) live() map[string]*proc {
	out := map[string]*proc{}
	for _, p := range s.procs {
		if p.alive && p.fatal == nil {
			out[p.id] = p
		}
	}
	return out
}
