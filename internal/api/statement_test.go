package api_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/livekit/protocol/livekit"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/dataegress"
	"github.com/syncflow/textegress/internal/api"
)

// TestStatementOf: figures of connections are added up, all other values are copied.
func TestStatementOf(t *testing.T) {
	m := textegress.Manifest{
		EgressID: "DE_1", Status: textegress.StatusFailed, Reason: "why",
		StartedUnixNS: 1, EndedUnixNS: 2,
		Counts:    textegress.Counts{Packets: 3, Messages: 4, Bytes: 5},
		Selection: &textegress.Selection{},
		Completeness: textegress.Completeness{
			Join:       textegress.Join{AnnouncedUnixNS: 6, JoinedUnixNS: 7},
			Outages:    []textegress.Outage{{Cause: "c", StartedUnixNS: 8, EndedUnixNS: 9}},
			ClockSteps: make([]textegress.ClockStep, 2), ClockStepsOmitted: 3,
			UndecodablePackets: 10, UndecryptablePackets: 11,
			CorruptRanges: 12, CorruptBytes: 13, FramesMissing: 14,
			Tail: textegress.TailLeft, Suspect: true,
			Connections: []textegress.Connection{
				{Sequence: &textegress.Sequence{
					MissingNumbers: 100, UnexplainedGaps: 10, UnexplainedNumbers: 1,
				}},
				{},
				{Sequence: &textegress.Sequence{
					MissingNumbers: 200, UnexplainedGaps: 20, UnexplainedNumbers: 2,
				}},
			},
			Streams: textegress.Streams{Complete: 15, Incomplete: 16},
		},
	}
	want := &dataegress.Statement{
		EgressId: "DE_1", Status: livekit.EgressStatus_EGRESS_FAILED, Reason: "why", Final: true,
		Summary: "In short.", ManifestLocation: "s3://b/manifest.json",
		AnnouncedAt: 6, JoinedAt: 7, StartedAt: 1, EndedAt: 2, Packets: 3, Messages: 4, Bytes: 5,
		Outages: []*dataegress.Outage{{Cause: "c", StartedAt: 8, EndedAt: 9}}, Tail: "left",
		MissingNumbers: 300, UnexplainedGaps: 30, UnexplainedNumbers: 3,
		StreamsComplete: 15, StreamsIncomplete: 16,
		UndecodablePackets: 10, UndecryptablePackets: 11,
		CorruptRanges: 12, CorruptBytes: 13, FramesMissing: 14, ClockSteps: 5, Suspect: true,
		Selection: true,
	}
	got := api.StatementOf(m, &livekit.EgressInfo{
		Details: "In short.", ManifestLocation: "s3://b/manifest.json",
	})
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// TestStatementNamesNobody fills every text of a manifest, and checks that the statement contains
// only the texts of four fields.
func TestStatementNamesNobody(t *testing.T) {
	var m textegress.Manifest
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n, 0)
	b, err := json.Marshal(m)
	if err != nil || n < 40 {
		t.Fatalf("%d texts, %v", n, err)
	}
	m.EgressID, m.Reason, m.Completeness.Tail = "DE_1", "r", "t"
	for i := range m.Completeness.Outages {
		m.Completeness.Outages[i].Cause = "c"
	}
	s, err := protojson.Marshal(api.StatementOf(m, nil))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(s), "text ") || !strings.Contains(string(b), "text ") {
		t.Errorf("%s", s)
	}
}

// fill sets every string to a different text.
func fill(v reflect.Value, n *int, depth int) {
	switch v.Kind() {
	case reflect.String:
		*n++
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Pointer:
		if depth < 8 && v.CanSet() {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), n, depth+1)
		}
	case reflect.Slice:
		if depth < 8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), n, depth+1)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field, n, depth+1)
			}
		}
	}
}
