package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newDump(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dump FILE",
		Short: "Print what one of the log's files holds",
		Long:  `dump prints what one of the log's files holds, for finding out what went wrong.`,
		Args:  exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fmt.Errorf("dump %s: %w", args[0], errors.ErrUnsupported)
		},
	}
}
