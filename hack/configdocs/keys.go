package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors"
)

func workerKeys() string {
	var rows [][]string
	home, _ := os.UserHomeDir()
	for _, s := range config.Settings() {
		name := code(s.Name)
		for _, a := range s.Aliases {
			name += ", " + code(a)
		}
		if s.Secret {
			name += " (secret)"
		}
		value := s.Default
		if rest, ok := strings.CutPrefix(value, home+string(filepath.Separator)); ok && home != "" {
			value = "$HOME/" + rest
		}
		rows = append(rows, []string{name, s.Form, code(value), s.Doc})
	}
	return table([]string{"Key", "Form", "Default", "What for"}, rows)
}

func javaKeys() string {
	var names []string
	for _, name := range config.WithoutEffect() {
		names = append(names, code(name))
	}
	return strings.Join(names, ", ") + ".\n"
}

// connectorSections has one part for each class that is built in, named after it.
func connectorSections() map[string]string {
	parts := map[string]string{}
	for _, spec := range connectors.Catalog().List() {
		parts[spec.Class] = connectorKeys(spec)
	}
	return parts
}

func connectorKeys(spec connector.Spec) string {
	var rows [][]string
	for _, k := range spec.Keys {
		name, form := code(k.Name), string(k.Type)
		if k.Required {
			name += " (required)"
		}
		if k.Secret {
			name += " (secret)"
		}
		if len(k.Enum) > 0 {
			form = "`" + strings.Join(k.Enum, "`, `") + "`"
		}
		rows = append(rows, []string{name, form, code(k.Default), sentence(k.Doc)})
	}
	return table([]string{"Key", "Form", "Default", "What for"}, rows)
}

// sentence begins with a capital and ends with a stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if word, _, _ := strings.Cut(s, " "); strings.ToLower(word) == word && !strings.ContainsAny(word, ".") { // not a key, such as workerId
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
