package bench

import (
	"fmt"
	"time"
)

// Names of figures, by which targets, peers and earlier reports are looked up.
const (
	noRoomsMemory   = "memory without rooms, RSS (MB)"
	participantHeap = "live heap per participant who is present (KB)"
	participantCPU  = "CPU per participant who joins (ms)"
	burstRate       = "burst, messages recorded (messages/s)"
	burstDrained    = "burst, senders that got rid of all (%)"
	fileCPU         = "CPU for a file of 100 MB, recording (s)"
	fileExportCPU   = "CPU for a file of 100 MB, export and delivery (s)"
	filePeak        = "peak memory with a file of 100 MB, RSS (MB)"
	fileDelivery    = "end of the room to verified delivery, 100 MB (s)"
)

func joiningRooms(n int) string { return fmt.Sprintf("joining %d rooms announced at once (s)", n) }
func idleMemory(n int) string {
	return fmt.Sprintf("memory per idle room, %d rooms, RSS (KB)",
		n)
}

func idleHeap(n int) string { return fmt.Sprintf("heap in use per idle room, %d rooms (KB)", n) }
func idleCPU(n int) string  { return fmt.Sprintf("CPU per idle room, %d rooms (ms/s)", n) }
func idleCPUWith(present int) string {
	return fmt.Sprintf("CPU per idle room, %d participants (ms/s)", present)
}

func joiningMedian(where string) string {
	return "announcement to recording, " + where + ", median (ms)"
}
func joiningP99(where string) string { return "announcement to recording, " + where + ", p99 (ms)" }
func deliveryMedian(w string) string {
	return "end of a room to verified delivery, " + w + ", median (ms)"
}

func deliveryP99(w string) string {
	return "end of a room to verified delivery, " + w +
		", p99 (ms)"
}

func pollCPU(rooms int) string {
	return fmt.Sprintf("CPU per poll of a server with %d rooms (ms)", rooms)
}

func createdRooms(n int) string { return fmt.Sprintf("LiveKit creating %d rooms at once (s)", n) }
func polledRooms(n int) string {
	return fmt.Sprintf("creation of %d rooms at once to all joined, polling only (s)", n)
}
func loadCPU(name string) string    { return "CPU per 100k messages, " + name + " (s)" }
func loadMemory(name string) string { return "memory per room, " + name + ", RSS (KB)" }

const (
	alone     = "alone"
	beside200 = "beside 200 rooms"
)

var (
	dense = traffic{
		name: "dense room", rooms: 1, senders: 4, rate: 1000, seconds: 25,
		secondsQuick: 12,
	}
	burst  = traffic{name: "burst", rooms: 1, senders: 4, messages: 25_000}
	sparse = traffic{
		name: "100 rooms x 10/s", rooms: 100, senders: 1, rate: 10, seconds: 40,
		secondsQuick: 20,
	}
	sparse1000 = traffic{name: "1000 rooms x 1/s", rooms: 1000, senders: 1, rate: 1, seconds: 40}
)

// targets are for two cores shared with the LiveKit server.
var targets = map[string]target{
	idleMemory(1000):                 {240, 150},
	idleCPU(1000):                    {0.4, 0.2},
	idleCPU(200):                     {0.4, 0.2},
	joiningRooms(1000):               {20, 8},
	polledRooms(200):                 {4, 2},
	loadCPU(dense.name):              {3.5, 2},
	loadCPU(sparse.name):             {11, 6},
	followersCPU(50):                 {0.35, 0.2},
	joiningP99(alone):                {300, 100},
	joiningP99(beside200):            {300, 100},
	exportRate(10):                   {aim: 200},
	exportPeak(10):                   {least: 200},
	deliveryPeak(10):                 {least: 200},
	besideNode(idleMemory(40)):       {1. / 10, 1. / 30},
	besideNode(loadCPU(dense.name)):  {1. / 5, 1. / 10},
	besideNode(loadCPU(sparse.name)): {1. / 5, 1. / 10},
}

func besideNode(name string) string { return ratioName(name, peerRTCNode) }

// cases returns the cases in the order in which they run. All take 45 minutes; the limit is an
// hour.
func cases() []benchCase {
	const s = time.Second
	return []benchCase{
		{
			name: "latency-alone", runs: 3, quick: 1, takes: 30 * s, quickTakes: 30 * s,
			run: latency(0, alone),
		},
		{name: "latency-beside-200", runs: 3, takes: 110 * s, run: latency(200, beside200)},
		{
			name: "idle-40", runs: 3, takes: 165 * s, run: idle(40),
			peers: bothPeers(func(kind string) runFunc { return peerIdle(kind, 40) }),
		},
		{name: "idle-200", runs: 3, quick: 1, takes: 65 * s, quickTakes: 55 * s, run: idle(200)},
		{name: "idle-1000", runs: 3, takes: 90 * s, run: idle(1000)},
		{
			name: "polling", runs: 3, quick: 1, takes: 65 * s, quickTakes: 45 * s,
			run: polling(5000, 200),
		},
		{name: "participants", runs: 1, takes: 60 * s, run: participants(5, 100)},
		{
			name: "dense", runs: 3, quick: 1, takes: 95 * s, quickTakes: 20 * s, run: load(dense),
			peers: bothPeers(dense.peer),
		},
		{
			name: "followers", runs: 3, quick: 1, takes: 35 * s, quickTakes: 15 * s,
			run: followers(50),
		},
		{name: "burst", runs: 3, quick: 1, takes: 15 * s, quickTakes: 15 * s, run: load(burst)},
		{
			name: "sparse-100", runs: 3, quick: 1, takes: 180 * s, quickTakes: 40 * s,
			run: load(sparse), peers: bothPeers(sparse.peer),
		},
		{name: "sparse-1000", runs: 3, takes: 95 * s, run: load(sparse1000)},
		{
			name: "file", runs: 3, quick: 1, takes: 15 * s, quickTakes: 15 * s,
			run: file(100_000_000),
		},
		{
			name: "export-10m", runs: 1, quick: 1, takes: 300 * s, quickTakes: 35 * s,
			run: export(10, 1),
		},
	}
}

func bothPeers(of func(kind string) runFunc) []peerCase {
	return []peerCase{{peerGoSDK, of(peerGoSDK)}, {peerRTCNode, of(peerRTCNode)}}
}
