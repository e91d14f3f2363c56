package overview

// For returns o without what a viewer may not see. It shares nothing that it changes with o.
func (o Overview) For(r Rights) Overview {
	if r.Read {
		return o
	}
	sessions := make([]Session, len(o.Sessions))
	for i, s := range o.Sessions {
		sessions[i] = s.For(r)
	}
	o.Sessions = sessions
	o.Verdict = Judge(o)
	return o
}

// For returns s without what a viewer may not see.
func (s Session) For(r Rights) Session {
	if !r.Read {
		s.People, s.TextAllowed = nil, false
	}
	return s
}

// For returns rec without what a viewer may not see. The page of a recording lists it under its
// prefix, and nothing of that names a participant.
func (rec Recording) For(r Rights) Recording {
	rec.Session = rec.Session.For(r)
	return rec
}
