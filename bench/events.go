package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/seglog/seglog/engine"
)

// Topics returns count topics.
func Topics(count int) []engine.Topic {
	topics := make([]engine.Topic, count)
	for i := range topics {
		topics[i] = engine.MustTopic(fmt.Sprintf("bench.topic-%04d", i))
	}
	return topics
}

// Events returns count events whose payloads are JSON objects of exactly
// payloadBytes, the same ones each time. A payload of less than 64 bytes becomes
// 64 bytes long.
func Events(count, payloadBytes int) []engine.Event {
	random := rand.New(rand.NewPCG(1, uint64(payloadBytes)))
	events := make([]engine.Event, count)
	for i := range events {
		head := fmt.Sprintf(`{"job":"%016x","attempt":%d,"note":"`, random.Uint64(), random.IntN(10))
		const tail = `"}`
		note := words(random, max(payloadBytes, 64)-len(head)-len(tail))
		events[i] = engine.Event{
			Kind:         "job.completed",
			Payload:      json.RawMessage(head + note + tail),
			Headers:      map[string]string{},
			OccurredAtMS: 1_760_000_000_000 + int64(i)*17,
		}
	}
	return events
}

// IncompressibleEvents returns count events whose payloads are JSON strings of
// exactly payloadBytes of random base64, as close as JSON text comes to what
// cannot be compressed.
func IncompressibleEvents(count, payloadBytes int) []engine.Event {
	random := rand.New(rand.NewPCG(4, uint64(payloadBytes)))
	noise := make([]byte, payloadBytes)
	events := Events(count, payloadBytes)
	for i := range events {
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		text := base64.StdEncoding.EncodeToString(noise)
		events[i].Payload = json.RawMessage(`"` + text[:max(payloadBytes, 2)-2] + `"`)
	}
	return events
}

// RealisticEvents returns count events such as an agent's run leaves: a few
// kinds of very different size, ids that do not compress, text that does. Their
// envelopes have about 1,035 bytes in the mean.
func RealisticEvents(count int) []engine.Event {
	random := rand.New(rand.NewPCG(2, 2))
	events := make([]engine.Event, count)
	now := int64(1_760_000_000_000)
	for i := range events {
		now += random.Int64N(2_000)
		kind, textBytes := "agent.heartbeat", 0
		switch n := random.IntN(10); {
		case n < 3:
			kind, textBytes = "tool.call", 120+random.IntN(300)
		case n < 6:
			kind, textBytes = "tool.result", 200+random.IntN(1_600)
		case n < 8:
			kind, textBytes = "model.message", 400+random.IntN(2_060)
		}
		payload := fmt.Sprintf(
			`{"session":"%016x%016x","span":"%016x","parent":"%016x","seq":%d,"tool":%q,"duration_ms":%.3f,"tokens":{"input":%d,"output":%d},"ok":%t,"path":"/srv/%s/%s.go","text":"%s"}`,
			uint64(i/200)*0x9e3779b97f4a7c15, uint64(i/200)*0xc2b2ae3d27d4eb4f, random.Uint64(), random.Uint64(), i%200,
			vocabulary[random.IntN(8)], random.ExpFloat64()*80, random.IntN(20_000), random.IntN(2_000), random.IntN(20) > 0,
			vocabulary[random.IntN(len(vocabulary))], vocabulary[random.IntN(len(vocabulary))], words(random, textBytes))
		events[i] = engine.Event{
			Kind:         kind,
			Payload:      json.RawMessage(payload),
			Headers:      map[string]string{"trace_id": fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()), "worker": fmt.Sprintf("w%d", random.IntN(16))},
			OccurredAtMS: now,
		}
	}
	return events
}

// words returns text of exactly size bytes.
func words(random *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(vocabulary[random.IntN(len(vocabulary))])
		b.WriteByte(' ')
	}
	return b.String()[:max(size, 0)]
}

var vocabulary = strings.Fields(`read write search patch build test deploy plan
	the a of to and in that it is was for on as with at by from this be are or an which not have has
	file line error function returned value expected found missing package module import request response
	timeout retry queue worker event segment index cursor topic commit append offset buffer checksum frame
	agent model prompt token context window summary tool result message channel workflow pipeline stage step
	because however therefore before after while until unless when where every other first last next previous
	implementation configuration documentation acknowledgement durability consistency throughput latency`)
