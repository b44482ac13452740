package main

import (
	"fmt"
	"io"
	"time"
)

// progress is a line on a terminal that says how far long work has come. It
// appears only once the work has proved long.
type progress struct {
	w     io.Writer // nil: no terminal
	next  time.Time
	shown bool
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

func newProgress(s streams) *progress {
	p := &progress{next: time.Now().Add(progressAfter)}
	if s.errTTY {
		p.w = s.err
	}
	return p
}

// say replaces the line, where that is due.
func (p *progress) say(format string, args ...any) {
	if p.w == nil {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(progressEvery), true
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
