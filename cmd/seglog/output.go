package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
)

// row is one line of output: marshalled as it is for programs, as cells for
// people.
type row interface{ cells() []string }

// printer writes rows to standard output: as a table, or as JSON lines.
type printer struct {
	out *bufio.Writer
	tty bool
	// json: rows are JSON lines; objects: so are ids, for --json. Constant
	// once the flags are parsed.
	json, objects bool
	quiet         bool // a reader that goes away is no failure
	enc           *json.Encoder
	table         *tabwriter.Writer
	// titles stand above the table's first row.
	titles []string
	rows   int // rows in table that are not written yet
}

// outputError is a failed write to standard output.
type outputError struct {
	err   error
	quiet bool
}

func (e *outputError) Error() string { return "write the output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// tableRowsMax bounds the rows that a table holds back to align its columns.
const tableRowsMax = 100

func newPrinter(out io.Writer, tty bool) *printer {
	p := &printer{out: bufio.NewWriterSize(out, 64<<10), tty: tty, json: !tty, quiet: true}
	p.enc = json.NewEncoder(p.out)
	p.enc.SetEscapeHTML(false) // payloads come out as they went in
	p.table = tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	return p
}

// row prints r.
func (p *printer) row(r row) error {
	if p.json {
		if err := p.enc.Encode(r); err != nil {
			return p.wrap(err)
		}
		return nil
	}
	if p.titles != nil {
		p.cells(p.titles)
		p.titles = nil
	}
	p.cells(r.cells())
	p.rows++
	if p.rows < tableRowsMax {
		return nil
	}
	return p.flush()
}

func (p *printer) cells(cells []string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	// The table buffers and keeps the first error for flush.
	_, _ = io.WriteString(p.table, strings.Join(cells, "\t")+"\n")
}

// line prints text as it is.
func (p *printer) line(text string) error {
	_, err := p.out.WriteString(text + "\n")
	return p.wrap(err)
}

// pairRow is a named value, for people.
type pairRow struct{ name, value string }

// pairs prints one thing as a table of its properties.
func (p *printer) pairs(rows []pairRow) error {
	for _, r := range rows {
		p.cells([]string{r.name, r.value})
	}
	return p.flush()
}

// answer prints an id alone on its line, or for --json the row that it is of.
func (p *printer) answer(id engine.EventID, r row) error {
	if p.objects {
		return p.row(r)
	}
	_, err := p.out.Write(append(strconv.AppendUint(p.out.AvailableBuffer(), uint64(id), 10), '\n'))
	return p.wrap(err)
}

// flush hands everything to standard output.
func (p *printer) flush() error {
	p.rows = 0
	if err := p.table.Flush(); err != nil {
		return p.wrap(err)
	}
	return p.wrap(p.out.Flush())
}

func (p *printer) wrap(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{err, p.quiet}
}

// printable makes text safe for a terminal and a table: a kind or a consumer
// may hold any Unicode text, escape sequences included.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return strconv.Quote(s)
	}
	return s
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// printablePayload is a payload on one line. It is JSON on a terminal too, so
// what cannot be printed is written as JSON would escape it.
func printablePayload(payload []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		return string(payload)
	}
	if !bytes.ContainsFunc(b.Bytes(), unprintable) {
		return b.String()
	}
	var s strings.Builder
	for _, r := range b.String() {
		switch {
		case !unprintable(r):
			s.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&s, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&s, `\u%04x`, r)
		}
	}
	return s.String()
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<10), 0
	for f >= 1<<10 && unit < len(units)-1 {
		f, unit = f/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB (%d bytes)", f, units[unit], n)
}

// plural is n with its noun.
func plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
