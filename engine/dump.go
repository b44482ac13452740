package engine

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seglog/seglog/internal/vfs"
)

// ManifestDump is what a manifest file says, for tools.
type ManifestDump struct {
	Log           string           `json:"log"` // uuid
	Generation    uint64           `json:"generation"`
	Frames        uint64           `json:"frames"`
	Bytes         int64            `json:"bytes"` // that verify
	TornBytes     int64            `json:"torn_bytes,omitempty"`
	CheckpointLSN uint64           `json:"checkpoint_lsn"`
	Position      uint64           `json:"position"`
	NextSegment   uint64           `json:"next_segment"`
	Topics        []TopicDump      `json:"topics"`
	CarryFiles    map[uint64]int64 `json:"carry_files"` // id → durable bytes
	Dropped       []uint64         `json:"dropped"`     // ids of files that may not be removed yet
	Damage        []*CorruptError  `json:"damage,omitempty"`
}

// TopicDump is what a manifest says of one topic.
type TopicDump struct {
	Topic     Topic         `json:"topic"`
	Number    uint64        `json:"number"`
	Latest    EventID       `json:"latest"`
	First     EventID       `json:"first"`
	Segments  []SegmentDump `json:"segments,omitempty"`
	Carried   *CarriedDump  `json:"carried,omitempty"`
	Consumers int           `json:"consumers"`
}

// SegmentDump is what a manifest says of one segment file.
type SegmentDump struct {
	ID      uint64  `json:"id"`
	First   EventID `json:"first"`
	Last    EventID `json:"last"`
	Durable int64   `json:"durable_bytes"`
	Sealed  bool    `json:"sealed"`
}

// CarriedDump says where in a carry file a topic's events are.
type CarriedDump struct {
	Carry  uint64  `json:"carry"`
	Offset int64   `json:"offset"`
	Bytes  uint32  `json:"bytes"`
	First  EventID `json:"first"`
	Last   EventID `json:"last"`
}

// DumpManifest reads the manifest file of the given name, for the tools of this
// module.
func DumpManifest(fs vfs.FS, name string) (*ManifestDump, error) {
	hex, ok := strings.CutPrefix(name, "manifest-")
	gen, err := strconv.ParseUint(hex, 16, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: %q is not the name of a manifest", ErrConfig, name)
	}
	l, err := readManifest(fs, gen)
	if err != nil {
		return nil, err
	}
	s := l.state
	d := &ManifestDump{
		Log: fmt.Sprintf("%x", s.uuid), Generation: gen, Frames: l.seq, Bytes: l.size, TornBytes: l.torn,
		CheckpointLSN: uint64(s.checkpoint.LSN), Position: s.position, NextSegment: s.nextSegment,
		CarryFiles: map[uint64]int64{}, Dropped: sortedKeys(s.tombstones),
	}
	for _, num := range sortedKeys(s.topics) {
		d.Topics = append(d.Topics, s.topics[num].dump(len(s.cursors.List(num))))
	}
	for id, c := range s.carries {
		d.CarryFiles[id] = c.durable
	}
	for _, bad := range l.damage {
		d.Damage = append(d.Damage, bad.err)
	}
	return d, nil
}

func (m *topicMeta) dump(consumers int) TopicDump {
	d := TopicDump{Topic: m.name, Number: m.topic, Latest: EventID(m.latest), First: EventID(m.low), Consumers: consumers}
	for _, s := range m.segments {
		d.Segments = append(d.Segments, SegmentDump{ID: s.id.ID, First: EventID(s.first), Last: EventID(s.last), Durable: s.durable, Sealed: s.sealed})
	}
	if c := m.carried; c != nil {
		d.Carried = &CarriedDump{Carry: c.carry, Offset: c.Offset, Bytes: c.Stored, First: EventID(c.First), Last: EventID(c.Last)}
	}
	return d
}
