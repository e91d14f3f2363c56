package stack

import "context"

// Control replaces the settings of the stand-in; the zero value turns all misbehaviour off.
func (s *SyncFlow) Control(ctx context.Context, set Settings) error {
	return s.CallWithToken(ctx, "", "PUT", s.URL+"/_control", set, nil)
}

// Counters returns the stand-in's counters since its start or last reset.
func (s *SyncFlow) Counters(ctx context.Context) (Counters, error) {
	var c Counters
	return c, s.CallWithToken(ctx, "", "GET", s.URL+"/_control", nil, &c)
}

// ResetControl resets counters and settings.
func (s *SyncFlow) ResetControl(ctx context.Context) error {
	return s.CallWithToken(ctx, "", "DELETE", s.URL+"/_control", nil, nil)
}

// Redeclare connects the stand-in to RabbitMQ again and declares its exchange, as a restart of the
// API does.
func (s *SyncFlow) Redeclare(ctx context.Context) error {
	return s.CallWithToken(ctx, "", "POST", s.URL+"/_control/redeclare", nil, nil)
}
