package script

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/seglog/seglog/engine"
)

// Kind says what an operation does.
type Kind int

// The operations. Those from Reopen on act on the world around the log.
const (
	Append       Kind = iota // append TOPIC SEED:SIZE [expect=ID]
	Batch                    // batch TOPIC SEED:SIZE… [expect=ID]
	Async                    // async TOPIC SEED:SIZE…: all in flight, then waited for
	Commit                   // commit PART; PART…: append, batch, ack and expect
	Expect                   // expect TOPIC ID: a part of a commit only
	Ack                      // ack TOPIC CONSUMER ID
	DeleteCursor             // uncursor TOPIC CONSUMER
	Compact                  // compact TOPIC ID
	Restore                  // restore TOPIC ID
	Flush                    // flush
	Checkpoint               // checkpoint
	Check                    // check: read everything and compare
	Reopen                   // reopen: close and open
	Kill                     // kill: the process dies, the page cache survives
	Crash                    // crash VARIANT SEED: the power fails
	CrashAfter               // crashafter OPS VARIANT SEED: … that many file operations from now
	Fault                    // fault OPS ERROR COUNT: a file operation fails
	Heal                     // heal: no fault from now on
	Clock                    // clock MILLISECONDS: time jumps, forward or back
	numKinds
)

var kindNames = [numKinds]string{
	"append", "batch", "async", "commit", "expect", "ack", "uncursor", "compact", "restore", "flush", "checkpoint", "check",
	"reopen", "kill", "crash", "crashafter", "fault", "heal", "clock",
}

// String returns the word that the text form begins with.
func (k Kind) String() string { return kindNames[k] }

// Op is one operation. Which fields count depends on Kind.
type Op struct {
	Kind     Kind
	Topic    string
	Consumer string
	ID       uint64
	Events   []Seed
	Expect   *uint64 // of an append or batch
	Parts    []Op    // of a commit
	N        int64   // file operations to wait, or milliseconds
	Variant  int     // of a crash: an index into vfs.Survivals, taken modulo
	Seed     uint64  // of a crash
	Error    string  // of a fault: eio, enospc, emfile, eacces, short
	Count    int     // of a fault: how often; -1: for ever
}

// Seed stands for one event.
type Seed struct {
	N    uint64
	Size int // of the payload, in bytes, at least 1
}

// Event makes the event: the same one for the same seed.
func (s Seed) Event() engine.Event {
	r := rand.New(rand.NewPCG(s.N, uint64(s.Size)))
	e := engine.Event{
		Kind:         kinds[r.IntN(len(kinds))],
		Payload:      payload(r, s.N, max(1, s.Size)),
		Headers:      map[string]string{},
		OccurredAtMS: times[r.IntN(len(times))],
	}
	for range r.IntN(3) {
		e.Headers[kinds[r.IntN(len(kinds))]] = strconv.FormatUint(r.Uint64(), 36)
	}
	return e
}

// Kinds include runs of zero bytes, which a reader that takes zeros for the
// end of the log trips over.
var (
	kinds = []string{"", "job.done", "a", "über", "\x00", strings.Repeat("\x00", 600), "x\ny\"z"}
	times = []int64{0, 1, -1, 1_700_000_000_000, math.MaxInt64, math.MinInt64}
)

// payload returns a JSON value of exactly size bytes: a string that compresses
// badly or well, or a number after white space. It holds as much of the seed as
// there is room for, so that no two events are easily the same.
func payload(r *rand.Rand, seed uint64, size int) []byte {
	if size < 2 {
		return []byte{byte('0' + r.IntN(10))}
	}
	b := make([]byte, size)
	style := r.IntN(3)
	for i := range b {
		switch style {
		case 0:
			b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"[r.IntN(64)]
		case 1:
			b[i] = 'z'
		case 2:
			b[i] = ' '
		}
	}
	name := strconv.FormatUint(seed, 10)
	if style == 2 {
		copy(b[max(0, size-len(name)):], name)
		return b
	}
	if style == 1 {
		copy(b[1:], name)
	}
	b[0], b[size-1] = '"', '"'
	return b
}

// String is the text form of o.
func (o Op) String() string {
	var b strings.Builder
	b.WriteString(o.Kind.String())
	switch o.Kind {
	case Append, Batch, Async:
		b.WriteString(" " + o.Topic)
		for _, s := range o.Events {
			fmt.Fprintf(&b, " %d:%d", s.N, s.Size)
		}
		if o.Expect != nil {
			fmt.Fprintf(&b, " expect=%d", *o.Expect)
		}
	case Commit:
		for i, p := range o.Parts {
			if i > 0 {
				b.WriteString(";")
			}
			b.WriteString(" " + p.String())
		}
	case Expect, Compact, Restore:
		fmt.Fprintf(&b, " %s %d", o.Topic, o.ID)
	case Ack:
		fmt.Fprintf(&b, " %s %s %d", o.Topic, o.Consumer, o.ID)
	case DeleteCursor:
		fmt.Fprintf(&b, " %s %s", o.Topic, o.Consumer)
	case Crash:
		fmt.Fprintf(&b, " %d %d", o.Variant, o.Seed)
	case CrashAfter:
		fmt.Fprintf(&b, " %d %d %d", o.N, o.Variant, o.Seed)
	case Fault:
		fmt.Fprintf(&b, " %d %s %d", o.N, o.Error, o.Count)
	case Clock:
		fmt.Fprintf(&b, " %d", o.N)
	}
	return b.String()
}

// ParseOp reads the text form of one operation.
func ParseOp(line string) (Op, error) {
	if parts, ok := strings.CutPrefix(strings.TrimSpace(line), Commit.String()+" "); ok {
		return parseCommit(parts)
	}
	p := parser{words: strings.Fields(line)}
	o := p.op()
	if p.err == nil && len(p.words) > 0 {
		p.fail("%d words too many", len(p.words))
	}
	if p.err != nil {
		return Op{}, fmt.Errorf("operation %q: %w", line, p.err)
	}
	return o, nil
}

func parseCommit(parts string) (Op, error) {
	o := Op{Kind: Commit}
	for part := range strings.SplitSeq(parts, ";") {
		q, err := ParseOp(part)
		if err != nil {
			return Op{}, err
		}
		switch q.Kind {
		case Append, Batch, Ack, Expect:
		default:
			return Op{}, fmt.Errorf("operation %q: no part of a commit", part)
		}
		o.Parts = append(o.Parts, q)
	}
	return o, nil
}

type parser struct {
	words []string
	err   error
}

func (p *parser) op() Op {
	name := p.word()
	for k, n := range kindNames {
		if n == name {
			return p.rest(Kind(k))
		}
	}
	p.fail("unknown operation %q", name)
	return Op{}
}

func (p *parser) rest(k Kind) Op {
	o := Op{Kind: k}
	switch k {
	case Append, Batch, Async:
		o.Topic = p.word()
		p.events(&o)
	case Expect, Compact, Restore:
		o.Topic, o.ID = p.word(), p.unsigned()
	case Ack:
		o.Topic, o.Consumer, o.ID = p.word(), p.word(), p.unsigned()
	case DeleteCursor:
		o.Topic, o.Consumer = p.word(), p.word()
	case Crash:
		o.Variant, o.Seed = int(p.signed()), p.unsigned()
	case CrashAfter:
		o.N, o.Variant, o.Seed = p.signed(), int(p.signed()), p.unsigned()
	case Fault:
		o.N, o.Error, o.Count = p.signed(), p.word(), int(p.signed())
	case Clock:
		o.N = p.signed()
	case Commit:
		p.fail("a commit has parts")
	}
	return o
}

func (p *parser) events(o *Op) {
	for len(p.words) > 0 && p.err == nil {
		w := p.word()
		if id, ok := strings.CutPrefix(w, "expect="); ok {
			n, err := strconv.ParseUint(id, 10, 64)
			if err != nil {
				p.fail("%v", err)
			}
			o.Expect = &n
			continue
		}
		n, size, _ := strings.Cut(w, ":")
		seed, err1 := strconv.ParseUint(n, 10, 64)
		bytes, err2 := strconv.ParseUint(size, 10, 24)
		if err1 != nil || err2 != nil {
			p.fail("%q is not SEED:SIZE", w)
		}
		o.Events = append(o.Events, Seed{seed, int(bytes)})
	}
	if o.Kind == Append && len(o.Events) != 1 {
		p.fail("append takes one event, not %d", len(o.Events))
	}
}

func (p *parser) word() string {
	if len(p.words) == 0 {
		p.fail("a word is missing")
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) unsigned() uint64 {
	n, err := strconv.ParseUint(p.word(), 10, 64)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}

func (p *parser) signed() int64 {
	n, err := strconv.ParseInt(p.word(), 10, 64)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// Script is a sequence of operations and the options that the log is opened
// with.
type Script struct {
	Options engine.Options
	Ops     []Op
}

// String is the text form of s.
func (s Script) String() string {
	var b strings.Builder
	o := s.Options
	fmt.Fprintf(&b, "options wal=%d segment=%d block=%d tail=%d sync=%d compression=%d\n",
		o.WALBytes, o.SegmentBytes, o.BlockBytes, o.TailBytes, o.Sync, o.Compression)
	for _, op := range s.Ops {
		b.WriteString(op.String() + "\n")
	}
	return b.String()
}

// Parse reads the text form. Blank lines, and lines that begin with '#', are
// skipped.
func Parse(text string) (Script, error) {
	var s Script
	scanner := bufio.NewScanner(strings.NewReader(text))
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "options "); ok {
			if err := parseOptions(rest, &s.Options); err != nil {
				return s, err
			}
			continue
		}
		op, err := ParseOp(line)
		if err != nil {
			return s, err
		}
		s.Ops = append(s.Ops, op)
	}
	return s, scanner.Err()
}

func parseOptions(text string, o *engine.Options) error {
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("option %q: %w", word, err)
		}
		switch name {
		case "wal":
			o.WALBytes = n
		case "segment":
			o.SegmentBytes = n
		case "block":
			o.BlockBytes = int(n)
		case "tail":
			o.TailBytes = n
		case "sync":
			o.Sync = engine.SyncPolicy(n)
		case "compression":
			o.Compression = engine.Compression(n)
		default:
			return fmt.Errorf("unknown option %q", word)
		}
	}
	return nil
}
