package engine

type follower struct{}

func (e *Engine) openReadOnly() error                            { return ErrReadOnly }
func (e *Engine) poll() error                                    { return nil }
func (e *Engine) addGapLocked(t *topicState, first, last uint64) {}
