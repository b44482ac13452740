package main

import (
	"cmp"
	"fmt"
	"slices"
)

// bar is one store's value.
type bar struct {
	name  string
	style style
	value float64
}

// barChart is horizontal bars, the shortest first, beside a mark that all are
// compared with.
type barChart struct {
	title, subtitle string
	x               axis
	bars            []bar
	mark            float64
	markName        string
}

const (
	barHeight = 20
	barGap    = 8
)

func (b *barChart) svg() string {
	const left, top = 130, 84
	bottom := top + float64(len(b.bars))*(barHeight+barGap)
	c := &canvas{width: chartWidth, height: bottom + 56}
	c.title(b.title, b.subtitle)
	b.x.from, b.x.to = left, chartWidth-90
	slices.SortStableFunc(b.bars, func(a, b bar) int { return cmp.Compare(a.value, b.value) })
	for _, t := range b.x.ticks {
		x := b.x.at(t.value)
		c.line(x, top-6, x, bottom, `stroke="`+grid+`"`)
		c.text(x, bottom+17, "middle", `fill="`+faint+`"`, t.label)
	}
	c.text((b.x.from+b.x.to)/2, bottom+38, "middle", "", b.x.title)
	for i, r := range b.bars {
		y := top + float64(i)*(barHeight+barGap)
		width := b.x.at(r.value) - left
		c.add(`<rect x="%d" y="%.1f" width="%.1f" height="%d" rx="2" fill="%s" fill-opacity="0.85"/>`, left, y, width, barHeight, r.style.color)
		weight := ""
		if r.style.strong {
			weight = `font-weight="bold"`
		}
		c.text(left-8, y+barHeight-6, "end", weight, r.name)
		c.text(left+width+6, y+barHeight-6, "start", weight, fmt.Sprintf("%.0f", r.value))
	}
	if b.mark > 0 {
		x := b.x.at(b.mark)
		c.line(x, top-8, x, bottom, `stroke="`+ink+`" stroke-dasharray="4 3"`)
		c.text(x, top-12, "middle", `font-size="11"`, b.markName)
	}
	return c.String()
}
