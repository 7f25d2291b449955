package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// makeTargets lists the Makefile's targets with their comments.
func makeTargets(root string) (map[string]string, error) {
	raw, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, fmt.Errorf("reading the targets: %w", err)
	}
	var rows [][]string
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## (.+)$`).FindAllStringSubmatch(string(raw), -1) {
		rows = append(rows, []string{code("make " + m[1]), sentence(m[2])})
	}
	return map[string]string{"make-targets": table([]string{"Target", "What it does"}, rows)}, nil
}
