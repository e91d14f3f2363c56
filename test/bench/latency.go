package bench

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/syncflow/textegress/internal/backoff"
	"github.com/syncflow/textegress/test/stack"
)

// samples is the number of sessions measured in one run. With fewer, the 99th percentile would be
// the slowest session.
const samples = 200

// latency starts and ends sessions one after the other, beside a number of idle rooms. It measures
// the time from the publication of an announcement until the room's data channels are open (which
// includes the token and a durable recording.json), and the time from the end of the session until
// its recording is verified in the bucket. Both end times come from the recorder's log and from
// uploaded.json, because polling the recorder would distort the measurement.
func latency(beside int, where string) func(context.Context, *world) ([]measured, error) {
	return func(ctx context.Context, w *world) ([]measured, error) {
		return w.withRooms(ctx, beside, func(c *fixture) ([]measured, error) {
			p, err := w.publisher()
			if err != nil {
				return nil, err
			}
			defer p.conn.Close()
			log, err := c.r.FollowLog()
			if err != nil {
				return nil, err
			}
			defer log.Close()
			var begins, ends []float64
			for range samples {
				begin, end, err := c.oneSession(ctx, p, log)
				if err != nil {
					return nil, err
				}
				begins, ends = append(begins, ms(begin)), append(ends, ms(end))
			}
			return []measured{
				{joiningMedian(where), percentile(begins, 0.5)},
				{joiningP99(where), percentile(begins, 0.99)},
				{deliveryMedian(where), percentile(ends, 0.5)},
				{deliveryP99(where), percentile(ends, 0.99)},
			}, nil
		})
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// oneSession runs one session and returns how long its start and its delivery took.
func (c *fixture) oneSession(ctx context.Context, p *publisher, log *stack.LogFollower) (begin,
	end time.Duration, err error,
) {
	s, err := c.world.sessions(ctx, 1)
	if err != nil {
		return 0, 0, err
	}
	c.sessions = append(c.sessions, s[0])
	announced := time.Now()
	if err := p.publish(ctx, stack.Announcement(s[0].ID, s[0].LivekitRoomName)); err != nil {
		return 0, 0, err
	}
	joined, err := awaitJoined(ctx, log, s[0].ID)
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, c.r.LogTail(3000))
	}
	ended := time.Now()
	if _, err := c.servers.SyncFlow.StopSession(ctx, c.project(), s[0].ID); err != nil {
		return 0, 0, err
	}
	c.sessions = c.sessions[:len(c.sessions)-1]
	c.others++
	uploaded, err := c.r.AwaitUploaded(ctx, joined.EgressID)
	if err != nil {
		return 0, 0, err
	}
	return joined.Time.Sub(announced), uploaded.Sub(ended),
		c.servers.SyncFlow.DeleteSession(ctx, c.project(), s[0].ID)
}

// awaitJoined reads the log until the session is joined.
func awaitJoined(ctx context.Context, log *stack.LogFollower, session string) (stack.LogEntry,
	error,
) {
	for {
		list, err := log.Next()
		if err != nil {
			return stack.LogEntry{}, err
		}
		for _, e := range list {
			if e.Msg == "joined" && e.SessionID == session {
				return e, nil
			}
		}
		if err := backoff.Sleep(ctx, 2*time.Millisecond); err != nil {
			return stack.LogEntry{}, fmt.Errorf("session %s was not joined: %w", session, err)
		}
	}
}

// publisher is a connection to the broker, opened before the measurement.
type publisher struct {
	conn *amqp.Connection
	ch   *amqp.Channel
	key  string
}

func (w *world) publisher() (*publisher, error) {
	conn, err := w.servers.RabbitMQ.Dial()
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &publisher{conn, ch, w.project().ID + "." + stack.DeviceGroup}, nil
}

func (p *publisher) publish(ctx context.Context, body []byte) error {
	return p.ch.PublishWithContext(ctx, stack.Exchange, p.key, false, false,
		amqp.Publishing{Body: body})
}
