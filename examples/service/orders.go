package main

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/sockeye-io/sockeye"
)

// Order is one of the shop's.
type Order struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// Orders are the service's data; a real one has a database.
type Orders struct {
	mu       sync.Mutex
	status   map[string]string // by id
	realtime *sockeye.Server
}

func (o *Orders) get(w http.ResponseWriter, r *http.Request) {
	order := Order{ID: chi.URLParam(r, "id")}
	o.mu.Lock()
	order.Status = o.status[order.ID]
	o.mu.Unlock()
	if order.Status == "" {
		http.Error(w, "there is no such order", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(order) // the client has gone
}

func (o *Orders) put(w http.ResponseWriter, r *http.Request) {
	order := Order{ID: chi.URLParam(r, "id")}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&order.Status); err != nil {
		http.Error(w, "a status is wanted, as JSON", http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	o.status[order.ID] = order.Status
	o.mu.Unlock()
	_ = o.realtime.To("order "+order.ID).Emit("order", order)
	w.WriteHeader(http.StatusNoContent)
}
