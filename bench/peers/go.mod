module github.com/sockeye-io/sockeye/bench/peers

go 1.26
