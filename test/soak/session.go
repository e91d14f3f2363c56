package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/test/classroom"
	"github.com/syncflow/textegress/test/stack"
)

// open creates and announces a session, and waits until the recorder is in its room.
func (s *soak) open(ctx context.Context) (stack.Session, error) {
	p := s.servers.SyncFlow.Projects[0]
	x, err := s.servers.SyncFlow.CreateSession(ctx, p, fmt.Sprintf("soak-%d", s.seed.Add(1)))
	if err != nil {
		return x, err
	}
	if err := s.servers.SyncFlow.Announce(ctx, p, stack.DeviceGroup,
		stack.Announcement(x.ID, x.LivekitRoomName)); err != nil {
		return x, err
	}
	_, err = s.log.joined(ctx, x.ID)
	return x, err
}

// session runs one session from start to end.
func (s *soak) session(ctx context.Context) error {
	s.active.Add(1)
	defer s.active.Add(-1)
	x, err := s.open(ctx)
	if err != nil {
		return err
	}
	v := &persistentRoom{session: x}
	if err := v.visit(ctx, s); err != nil {
		return err
	}
	if err := s.close(ctx, v); err != nil {
		return err
	}
	s.ended.Add(1)
	return nil
}

// close ends a session, waits until it is delivered, compares the delivered recording with what was
// sent, and removes both from the API and the bucket.
func (s *soak) close(ctx context.Context, v *persistentRoom) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	p := s.servers.SyncFlow.Projects[0]
	egress, err := s.log.joined(ctx, v.session.ID)
	if err != nil {
		return err
	}
	if _, err := s.servers.SyncFlow.StopSession(ctx, p, v.session.ID); err != nil {
		return err
	}
	if _, err := s.r.AwaitUploaded(ctx, egress); err != nil {
		return err
	}
	folders, err := filepath.Glob(filepath.Join(s.servers.S3.BucketDir(p.Bucket), "*",
		v.session.LivekitRoomName))
	if err != nil || len(folders) != 1 {
		return fmt.Errorf("session %s is in %d places of the bucket (%w)", v.session.ID,
			len(folders), err)
	}
	manifests, err := filepath.Glob(filepath.Join(folders[0], "text-egress", "*", "*",
		textegress.ManifestName))
	if err != nil || len(manifests) != 1 {
		return fmt.Errorf("session %s has %d recordings, want one (%w)", v.session.ID,
			len(manifests), err)
	}
	if err := s.compare(v, filepath.Dir(manifests[0])); err != nil {
		return fmt.Errorf("session %s: %w", v.session.ID, err)
	}
	s.log.forget(v.session.ID)
	return errors.Join(s.servers.SyncFlow.DeleteSession(ctx, p, v.session.ID),
		os.RemoveAll(folders[0]))
}

// closeRooms ends the persistent sessions.
func (s *soak) closeRooms(ctx context.Context) error {
	var errs []error
	for _, v := range s.persistent {
		errs = append(errs, s.close(ctx, v))
	}
	return errors.Join(errs...)
}

// persistentRoom is a session that stays open, and what was sent in it.
type persistentRoom struct {
	session stack.Session
	visits  int
	sent    map[string][]classroom.Message // by identity
	broken  map[string]bool                // whose list is not what they sent
	streams []sentStream
}

type sentStream struct {
	kind    textegress.Kind
	id      string // who sent it
	content []byte
}

// visit has participants join, send and leave: one late, one twice, and one who sends a text and a
// file.
func (v *persistentRoom) visit(ctx context.Context, s *soak) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	v.visits++
	seed := s.seed.Add(1)
	p := s.servers.SyncFlow.Projects[0]
	c := s.servers.Class(p, v.session)
	c.Seed, c.Learners, c.Messages, c.Late, c.Rejoin, c.Lossy = seed, 3, 40, 1, 1, 0.1
	// some come again
	c.Identity = func(i int) string { return fmt.Sprintf("learner-%d-%d", v.visits%8, i+1) }
	var wg sync.WaitGroup
	var streamErr error
	wg.Go(func() { streamErr = v.stream(ctx, s, seed) })
	rep, err := c.Run(ctx)
	wg.Wait()
	if v.sent == nil {
		v.sent, v.broken = map[string][]classroom.Message{}, map[string]bool{}
	}
	for id, list := range rep.Sent {
		before := len(v.sent[id])
		for _, m := range list {
			m.N += before
			v.sent[id] = append(v.sent[id], m)
		}
	}
	s.came.Add(int64(len(rep.Sent)))
	if ctx.Err() == nil && err != nil {
		// A participant could not join or lost its connection, as happens on a busy machine; the
		// SDK drops what is sent meanwhile. The error begins with the identity.
		for id := range rep.Sent {
			if strings.Contains(err.Error(), id+":") {
				v.broken[id] = true
				s.unknown.Add(1)
			}
		}
		err = nil
	}
	return errors.Join(err, streamErr)
}

// stream sends a text and a file as streams.
func (v *persistentRoom) stream(ctx context.Context, s *soak, seed uint64) error {
	p := s.servers.SyncFlow.Projects[0]
	id := fmt.Sprintf("streamer-%d", v.visits%4)
	l := classroom.Enroll(id, func(ctx context.Context) (string, string, error) {
		token, url, err := s.servers.SyncFlow.JoinToken(ctx, p, v.session, id)
		return url, token, err
	})
	r := rand.New(rand.NewPCG(seed, 7))
	file := make([]byte, 1+r.IntN(400_000))
	for i := range file {
		file[i] = byte(r.UintN(256))
	}
	text := strings.Repeat(fmt.Sprintf("text %d of %s. ", seed, id), 1+r.IntN(2500))
	s.came.Add(1)
	err := l.Join(ctx)
	if err == nil {
		err = l.SendText(ctx, "essay", text)
		if err == nil {
			err = l.SendFile(ctx, "files", fmt.Sprintf("file-%d.bin", seed), int64(len(file)),
				bytes.NewReader(file))
		}
		err = errors.Join(err, l.Leave(ctx))
	}
	if err != nil && ctx.Err() == nil {
		s.unknown.Add(1)
		return nil
	}
	v.streams = append(v.streams, sentStream{textegress.KindByteStream, id, file},
		sentStream{textegress.KindTextStream, id, []byte(text)})
	return err
}

// compare checks that everything that was sent is in the delivered recording.
func (s *soak) compare(v *persistentRoom, dir string) error {
	rec, err := textegress.Open(os.DirFS(dir))
	if err != nil {
		return err
	}
	got := map[string][]classroom.Received{}
	streams := map[sentKey]int{}
	for m, err := range rec.Messages() {
		if err != nil {
			return err
		}
		switch m.Kind {
		case textegress.KindData:
			got[m.Identity] = append(got[m.Identity], classroom.Received{
				Topic:   m.Topic,
				Payload: m.Payload(), Reliable: m.Reliable != nil && *m.Reliable,
			})
		case textegress.KindByteStream, textegress.KindTextStream:
			content := m.Payload()
			if m.Stream.File != "" {
				if content, err = os.ReadFile(filepath.Join(dir,
					filepath.FromSlash(m.Stream.File))); err != nil {
					return err
				}
			}
			if m.Stream.Complete {
				streams[sentKey{m.Kind, m.Identity, string(content)}]++
			}
		}
	}
	for id, sent := range v.sent {
		if v.broken[id] {
			continue
		}
		if d := classroom.Compare(sent, got[id]); !d.Faithful() {
			return fmt.Errorf("%s: of %d messages %v", id, len(sent), d)
		}
		s.messages.Add(int64(len(sent)))
	}
	for _, x := range v.streams {
		k := sentKey{x.kind, x.id, string(x.content)}
		if streams[k] == 0 {
			return fmt.Errorf("%s: a %s of %d bytes is not delivered, or not called complete", x.id,
				x.kind, len(x.content))
		}
		streams[k]--
		s.files.Add(1)
	}
	return nil
}

type sentKey struct {
	kind    textegress.Kind
	id      string
	content string
}
