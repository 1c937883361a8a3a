module github.com/sockeye-io/sockeye/bench/load

go 1.26
