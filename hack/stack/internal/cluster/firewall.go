package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// clusterChains lists the chains that Kubernetes and CNI plugins own in the output of iptables-save.
func clusterChains(rules string) []string {
	var chains []string
	for line := range strings.Lines(rules) {
		if name, ok := strings.CutPrefix(line, ":"); ok && isClusters(name) {
			chain, _, _ := strings.Cut(name, " ")
			chains = append(chains, chain)
		}
	}
	slices.Sort(chains)
	return slices.Compact(chains)
}

func isClusters(text string) bool {
	return strings.Contains(text, "KUBE-") || strings.Contains(text, "CNI-")
}

// withoutCluster is the output of iptables-save without the lines of Kubernetes and CNI plugins.
func withoutCluster(rules string) (rest string, changed bool) {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		if isClusters(line) {
			changed = true
			continue
		}
		b.WriteString(line)
	}
	return b.String(), changed
}

// restoreFirewall removes the cluster's chains and rules, then tables and counters that are empty and were not there
// before. A rule set that already had such chains before the cluster came belongs to somebody else and is left as it
// is.
func (m machine) restoreFirewall(ctx context.Context) error {
	var errs []error
	for _, fw := range firewalls {
		if len(m.Chains[fw]) > 0 {
			continue
		}
		rules, err := rulesOf(ctx, fw)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if rest, changed := withoutCluster(rules); changed {
			if _, err := step.OutputOf(ctx, rest, fw+"-restore"); err != nil {
				errs = append(errs, fmt.Errorf("removing the cluster's firewall rules: %w", err))
			}
		}
	}
	for _, table := range nfTables(ctx) {
		if !slices.Contains(m.NFTables, table) {
			errs = append(errs, dropIfEmpty(ctx, table))
		}
	}
	for _, name := range counters(ctx) {
		if !slices.Contains(m.Counters, name) {
			_, err := step.Output(ctx, "nfacct", "del", name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// rulesOf is a rule set as iptables-save prints it; nothing if there is no program for it here.
func rulesOf(ctx context.Context, firewall string) (string, error) {
	if _, err := exec.LookPath(firewall + "-save"); err != nil {
		return "", nil
	}
	rules, err := step.Output(ctx, firewall+"-save")
	if err != nil {
		return "", fmt.Errorf("reading the firewall: %w", err)
	}
	return rules, nil
}

// dropIfEmpty deletes an nftables table ("table ip nat") that holds no rule. Its chains may be there: iptables makes
// the base chains with the table.
func dropIfEmpty(ctx context.Context, table string) error {
	content, err := step.Output(ctx, "nft", append([]string{"list"}, strings.Fields(table)...)...)
	if err != nil {
		return fmt.Errorf("reading a firewall table: %w", err)
	}
	if hasRules(content) {
		return nil
	}
	if _, err := step.Output(ctx, "nft", append([]string{"delete"}, strings.Fields(table)...)...); err != nil {
		return fmt.Errorf("removing an empty firewall table: %w", err)
	}
	return nil
}

// hasRules tells whether the output of "nft list table" has more than the table and empty base chains.
func hasRules(content string) bool {
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		known := line == "" || line == "}" || strings.HasPrefix(line, "table ") || strings.HasPrefix(line, "chain ") ||
			strings.HasPrefix(line, "type ") || strings.HasPrefix(line, "#")
		if !known {
			return true
		}
	}
	return false
}

func nfTables(ctx context.Context) []string {
	return linesOf(step.Output(ctx, "nft", "list", "tables"))
}

// counters are the names of nfacct's objects: the last field of a line such as `{ pkts = 0, bytes = 0 } = name;`.
func counters(ctx context.Context) []string {
	var names []string
	for _, line := range linesOf(step.Output(ctx, "nfacct", "list")) {
		if _, name, ok := strings.Cut(line, "} = "); ok {
			names = append(names, strings.TrimSuffix(strings.TrimSpace(name), ";"))
		}
	}
	return names
}

// linesOf drops the error on purpose: a kernel without the feature has nothing to list.
func linesOf(out string, err error) []string {
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}
