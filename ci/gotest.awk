# Shortens the output of go test -v; see gotest in lib.sh.

function forget() { n = 0 }

# A package passed: what it skipped, and why, and its line.
/^ok[ \t]/ {
	for (i = 0; i < n; i++)
		if (lines[i] ~ /^ *--- SKIP/) {
			if (i > 0 && lines[i - 1] ~ /^ +[^ ]+_test\.go:/) print lines[i - 1]
			print lines[i]
		}
	print
	print >> results
	fflush()
	forget()
	next
}

/no test files\]$/ { forget(); next }

# A package failed: everything but what is about tests that passed.
/^FAIL[ \t]/ {
	for (i = 0; i < n; i++)
		if (lines[i] !~ /^(=== (RUN|PAUSE|CONT|NAME)| *--- PASS)/) print lines[i]
	print
	fflush()
	forget()
	next
}

{ lines[n++] = $0 }

END { for (i = 0; i < n; i++) print lines[i] }
