package engine

// Batch collects changes for one atomic commit: all of them become durable
// and visible at once, or none does. The zero value is empty. A Batch is not
// safe for concurrent use, and keeps what it is given until it is committed.
type Batch struct {
	ops []BatchOp
}

// BatchOpKind says which change a [BatchOp] is.
type BatchOpKind int

// The changes that a batch can hold.
const (
	OpAppend BatchOpKind = iota + 1
	OpAck
	OpExpect
)

// BatchOp is one change of a batch, for backends that carry it out.
type BatchOp struct {
	Kind     BatchOpKind
	Topic    Topic
	Events   []Event    // OpAppend
	Consumer ConsumerID // OpAck
	ID       EventID    // OpAck: up to; OpExpect: the expected latest id
}

// AppendedRange is what one [Batch.Append] call was assigned; 0, 0 for a call
// without events.
type AppendedRange struct {
	Topic       Topic
	First, Last EventID
}

// Committed is the outcome of a commit.
type Committed struct {
	// Position of the first event; 0 where the batch appended none.
	Position uint64
	// Appended has one range for each Append call, in order.
	Appended []AppendedRange
}

// Append adds events to topic, after those that the batch already has for it.
func (b *Batch) Append(topic Topic, events ...Event) {
	b.ops = append(b.ops, BatchOp{Kind: OpAppend, Topic: topic, Events: events})
}

// Ack moves a cursor. It may name events that the same batch appends before it.
func (b *Batch) Ack(topic Topic, consumer ConsumerID, upTo EventID) {
	b.ops = append(b.ops, BatchOp{Kind: OpAck, Topic: topic, Consumer: consumer, ID: upTo})
}

// ExpectLatest refuses the whole batch with a [*ConflictError] unless the
// topic's latest id, before the batch, is latest; 0: the topic must be new.
func (b *Batch) ExpectLatest(topic Topic, latest EventID) {
	b.ops = append(b.ops, BatchOp{Kind: OpExpect, Topic: topic, ID: latest})
}

// Ops returns the batch's changes in the order in which they were added. The
// slice is the batch's own.
func (b *Batch) Ops() []BatchOp { return b.ops }
