package clients

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/livekit/server-sdk-go/v2/e2ee"
)

// goClient is an app with LiveKit's Go SDK.
type goClient struct {
	job  job
	room *lksdk.Room
}

func joinGo(ctx context.Context, j job) (*goClient, error) {
	opts := []lksdk.ConnectOption{
		lksdk.WithAutoSubscribe(false),
		lksdk.WithLogger(logger.GetDiscardLogger()),
	}
	if j.Passphrase != "" {
		keys := e2ee.NewExternalKeyProvider()
		if err := keys.SetKeyFromPassphrase(j.Passphrase, 0); err != nil {
			return nil, err
		}
		opts = append(opts, lksdk.WithDataEncryption(&lksdk.EncryptionOptions{KeyProvider: keys}))
	}
	room := lksdk.NewRoom(lksdk.NewRoomCallback())
	room.SetLogger(logger.GetDiscardLogger())
	greet := func(call lksdk.RpcInvocationData) (string, error) {
		return "hello, " + call.Payload,
			nil
	}
	if err := room.RegisterRpcMethod("greet", greet); err != nil {
		return nil, err
	}
	if err := room.JoinWithContextAndToken(ctx, j.URL, j.Token, opts...); err != nil {
		return nil, err
	}
	c := &goClient{j, room}
	present := func() bool {
		for _, id := range j.Expect {
			if room.GetParticipantByIdentity(id) == nil {
				return false
			}
		}
		return true
	}
	if err := waitFor(ctx, func() string { return fmt.Sprintf("%s waits for %q", j.ID, j.Expect) },
		present); err != nil {
		room.Disconnect()
		return nil, err
	}
	return c, nil
}

// written waits until a part has been written. The SDK writes in the background.
func written(write func(done func())) {
	done := make(chan struct{})
	write(func() { close(done) })
	<-done
}

// packet is a kind of packet for which the SDK has no function.
type packet struct{ *livekit.DataPacket }

func (p packet) ToProto() *livekit.DataPacket { return p.DataPacket }

func (c *goClient) methods(dir string) map[string]func() error {
	me, j := c.room.LocalParticipant, c.job
	data := func(payload []byte, opts ...lksdk.DataPublishOption) func() error {
		return func() error { return me.PublishDataPacket(lksdk.UserData(payload), opts...) }
	}
	topic, to, reliable := lksdk.WithDataPublishTopic, lksdk.WithDataPublishDestination,
		lksdk.WithDataPublishReliable
	file := filepath.Join(dir, "plan.png")
	writeFile := func() error { return os.WriteFile(file, j.File, 0o600) }
	methods := map[string]func() error{
		"publish-lossy":    data([]byte(j.Short), topic("publish-lossy"), reliable(false)),
		"publish-reliable": data([]byte(j.Short), topic("publish-reliable"), reliable(true)),
		"publish-bytes":    data(j.Binary, topic("publish-bytes"), reliable(true)),
		"publish-no-topic": data([]byte(j.Short), reliable(true)),
		"send-text-short": func() error {
			me.SendText(j.Short, lksdk.StreamTextOptions{
				Topic:      "send-text-short",
				Attributes: j.Attributes,
			})
			return nil
		},
		"send-text-long": func() error {
			me.SendText(j.Long, lksdk.StreamTextOptions{
				Topic:      "send-text-long",
				Attributes: j.Attributes,
			})
			return nil
		},
		"send-text-attachments": func() error {
			notes := filepath.Join(dir, "notes.txt")
			if err := os.WriteFile(notes, j.Binary, 0o600); err != nil {
				return err
			}
			if err := writeFile(); err != nil {
				return err
			}
			me.SendText(j.Short, lksdk.StreamTextOptions{
				Topic:       "send-text-attachments",
				Attachments: []string{notes, file},
			})
			return nil
		},
		"stream-text": func() error {
			w := me.StreamText(lksdk.StreamTextOptions{
				Topic:      "stream-text",
				Attributes: j.Attributes,
			})
			for _, part := range j.Parts {
				written(func(done func()) { w.Write(part, &done) })
			}
			w.Close()
			return nil
		},
		"send-file": func() error {
			if err := writeFile(); err != nil {
				return err
			}
			_, err := me.SendFile(file, lksdk.StreamBytesOptions{
				Topic:    "send-file",
				FileName: &j.FileName,
			})
			return err
		},
		"stream-bytes": func() error {
			w := me.StreamBytes(lksdk.StreamBytesOptions{
				Topic: "stream-bytes", FileName: &j.FileName, MimeType: "application/octet-stream",
				Attributes: j.Attributes,
			})
			for at := 0; at < len(j.File); at += 7000 {
				written(func(done func()) { w.Write(j.File[at:min(at+7000, len(j.File))], &done) })
			}
			w.Close()
			return nil
		},
		"chat": func() error {
			m := lksdk.ChatMessage(time.Time{}, j.Short)
			if err := me.PublishDataPacket(m); err != nil {
				return err
			}
			edit := time.Now().UnixMilli()
			return me.PublishDataPacket(&livekit.ChatMessage{
				Id: m.Id, Timestamp: m.Timestamp,
				EditTimestamp: &edit, Message: j.Edited,
			})
		},
		"dtmf": func() error { return me.PublishDataPacket(&livekit.SipDTMF{Code: 5, Digit: "5"}) },
		"transcription": func() error {
			return me.PublishDataPacket(
				packet{&livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
					Transcription: &livekit.Transcription{
						TranscribedParticipantIdentity: string(goSDK), TrackId: "TR_microphone",
						Segments: []*livekit.TranscriptionSegment{{
							Id: "SG_1", Text: j.Short,
							StartTime: 1000, EndTime: 2500, Language: "en", Final: true,
						}},
					},
				}}})
		},
		"metrics": func() error {
			return me.PublishDataPacket(
				packet{&livekit.DataPacket{
					Value: &livekit.DataPacket_Metrics{Metrics: &livekit.MetricsBatch{
						TimestampMs: time.Now().UnixMilli(),
						TimeSeries: []*livekit.TimeSeriesMetric{
							{Label: 1, Samples: []*livekit.MetricSample{{Value: 1}}},
						},
					}},
				}}, reliable(true))
		},
	}
	if j.Peer == "" {
		return methods
	}
	methods["publish-addressed"] = data([]byte(j.Short), topic("publish-addressed"), reliable(true),
		to([]string{j.Peer}))
	methods["publish-addressed-too"] = data([]byte(j.Short), topic("publish-addressed-too"),
		reliable(true), to([]string{j.Peer, j.Recorder}))
	methods["send-text-addressed"] = func() error {
		me.SendText(j.Short, lksdk.StreamTextOptions{
			Topic:                 "send-text-addressed",
			DestinationIdentities: []string{j.Peer},
		})
		return nil
	}
	methods["rpc"] = func() error {
		answer, err := me.PerformRpc(lksdk.PerformRpcParams{
			DestinationIdentity: j.Peer,
			Method:              "greet", Payload: j.RPC,
		})
		if err == nil && *answer != "hello, "+j.RPC {
			err = fmt.Errorf("the answer is %q", *answer)
		}
		return err
	}
	return methods
}

// run joins, sends and stays. It returns what became of each method.
func runGo(ctx context.Context, d *desk, j job, dir string) (*goClient, map[string]string) {
	c, err := joinGo(ctx, j)
	if err != nil {
		return nil, map[string]string{"join": "failed: " + err.Error()}
	}
	results := map[string]string{}
	perform(results, j.Methods, c.methods(dir), j.Peer)
	if err := waitFor(ctx, func() string { return "not all are ready" },
		func() bool { return d.allReady(j.ID) }); err != nil {
		results["ready"] = "failed: " + err.Error()
	}
	perform(results, j.Addressed, c.methods(dir), j.Peer)
	if err := c.room.LocalParticipant.PublishDataPacket(lksdk.UserData([]byte(j.End)),
		lksdk.WithDataPublishTopic("end")); err != nil {
		results["end"] = "failed: " + err.Error()
	}
	return c, results
}

// probe is what the server API sends until the recorder hears it.
const probe = "probe"

// runServer sends through the server API, as nobody. For a moment after the recorder has joined,
// the server still drops what has no number, as these packets do, so it begins when the recorder
// has heard something.
func runServer(ctx context.Context, j job, room string, heard func() bool) map[string]string {
	rooms := servers.LiveKit.RoomService()
	data := func(topic string, kind livekit.DataPacket_Kind, payload []byte,
		to ...string,
	) func() error {
		return func() error {
			req := &livekit.SendDataRequest{
				Room: room, Kind: kind, Data: payload,
				DestinationIdentities: to,
			}
			if topic != "" {
				req.Topic = &topic
			}
			_, err := rooms.SendData(ctx, req)
			return err
		}
	}
	short := []byte(j.Short)
	methods := map[string]func() error{
		"publish-lossy":    data("publish-lossy", livekit.DataPacket_LOSSY, short),
		"publish-reliable": data("publish-reliable", livekit.DataPacket_RELIABLE, short),
		"publish-bytes":    data("publish-bytes", livekit.DataPacket_RELIABLE, j.Binary),
		"publish-no-topic": data("", livekit.DataPacket_RELIABLE, short),
	}
	if j.Peer != "" {
		methods["publish-addressed"] = data("publish-addressed", livekit.DataPacket_RELIABLE, short,
			j.Peer)
		methods["publish-addressed-too"] = data("publish-addressed-too",
			livekit.DataPacket_RELIABLE, short, j.Peer, j.Recorder)
	}
	results := map[string]string{}
	hears := func() bool {
		return data(probe, livekit.DataPacket_RELIABLE,
			[]byte(probe))() == nil && heard()
	}
	if err := waitFor(ctx, func() string { return "the recorder hears nothing" },
		hears); err != nil {
		results[probe] = "failed: " + err.Error()
	}
	perform(results, append(j.Methods, j.Addressed...), methods, j.Peer)
	if err := data("end", livekit.DataPacket_RELIABLE, []byte(j.End))(); err != nil {
		results["end"] = "failed: " + err.Error()
	}
	return results
}

// perform tries methods and notes what became of each.
func perform(results map[string]string, order []string, methods map[string]func() error,
	peer string,
) {
	for _, name := range order {
		send, ok := methods[name]
		switch {
		case !ok && peer == "" && needsPeer[name]:
			results[name] = noPeer
		case !ok:
			results[name] = notInVersion
		default:
			results[name] = sentIt
			if err := send(); err != nil {
				results[name] = "failed: " + err.Error()
			}
		}
	}
}
