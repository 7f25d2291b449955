package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// family is one metric as workers show it.
type family struct {
	kind, help string
	labels     map[string]bool
}

// metricsTable lists the workers' own metrics, as the given workers show them: a metric with labels is shown once it
// has counted.
func metricsTable(urls []string) (string, error) {
	all := map[string]*family{}
	for _, url := range urls {
		if err := scrape(url, all); err != nil {
			return "", err
		}
	}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		if strings.HasPrefix(name, "connect_") {
			rows = append(rows, []string{code(name), f.kind, strings.Join(slices.Sorted(maps.Keys(f.labels)), ", "), f.help})
		}
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("no metrics of a worker at %s", strings.Join(urls, ", "))
	}
	return table([]string{"Metric", "Type", "Labels", "Meaning"}, rows), nil
}

func scrape(url string, into map[string]*family) error {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return fmt.Errorf("scraping: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("scraping %s: %s", url, answer.Status)
	}
	return read(answer.Body, into)
}

// read takes names, types, texts and labels from Prometheus' text format.
func read(from io.Reader, into map[string]*family) error {
	label := regexp.MustCompile(`([a-zA-Z_]+)="`)
	var last *family
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 4)
		switch {
		case len(words) == 4 && words[1] == "HELP":
			if last = into[words[2]]; last == nil {
				last = &family{labels: map[string]bool{}}
				into[words[2]] = last
			}
			last.help = words[3]
		case len(words) == 4 && words[1] == "TYPE" && last != nil:
			last.kind = words[3]
		case last != nil:
			for _, m := range label.FindAllStringSubmatch(lines.Text(), -1) {
				if m[1] != "le" {
					last.labels[m[1]] = true
				}
			}
		}
	}
	return lines.Err()
}
