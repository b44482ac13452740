// Plot draws a run of bench/peers as SVG files.
//
//	go run ./bench/plot run.json DIR
//
// A chart whose rows are not in the run is left out.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seglog/seglog/bench/result"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot run.json DIR")
		os.Exit(2)
	}
	if err := plot(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func plot(name, dir string) error {
	run, err := result.Read(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	drawn := 0
	for _, c := range charts {
		svg := c.draw(run)
		if svg == "" {
			continue
		}
		path := filepath.Join(dir, c.name+".svg")
		if err := os.WriteFile(path, []byte(svg), 0o644); err != nil {
			return err
		}
		fmt.Println(path)
		drawn++
	}
	if drawn == 0 {
		return errors.New("the run has no row that there is a chart of")
	}
	return nil
}
