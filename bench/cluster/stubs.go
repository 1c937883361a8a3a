//go:build linux

package main

func render(string) error { return nil }
