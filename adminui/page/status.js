"use strict"

const every = 2000 // ms
const kept = 150 // samples: five minutes

const number = (v) => v.toLocaleString("en", {maximumFractionDigits: v < 10 ? 1 : 0})
const bytes = (v) => {
	let unit = "B"
	for (const u of ["KiB", "MiB", "GiB", "TiB"]) {
		if (v < 1024) break
		v /= 1024
		unit = u
	}
	return `${v.toLocaleString("en", {maximumFractionDigits: v < 10 && unit !== "B" ? 1 : 0})} ${unit}`
}
const time = (s) => {
	const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60
	return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min` : `${Math.floor(s)} s`
}

// rate is a counter's growth a second; undefined without a sample before.
const rate = (s, b, name) => b && s.at > b.at ? (s[name] - b[name]) / (s.at - b.at) * 1000 : undefined

// Each plot: its value of a sample and the one before, how it is written, and a line below.
const plots = [
	{title: "Connections", value: (s) => s.connections, write: number, floor: 10,
		detail: (s) => `${number(s.websocket)} WebSocket, ${number(s.polling)} long-polling; limit ${number(s.connectionLimit)}`},
	{title: "Deliveries a second", value: (s, b) => rate(s, b, "deliveries"), write: number, floor: 10,
		detail: () => "events to sockets: broadcasts and single ones"},
	{title: "Loop lag", value: (s) => s.lag, write: (v) => `${number(v)} ms`, floor: 10,
		detail: (s) => `longest wait for an event loop in 30 to 60 s; ${s.loops} loops; since the start ${number(s.maxLag)} ms`},
	{title: "Memory of peers", value: (s) => s.memory, write: bytes, floor: 1 << 20,
		detail: (s) => `${s.memoryLimit > 0 ? `${number(s.memory / s.memoryLimit * 100)} % of the budget of ${bytes(s.memoryLimit)}` : "no budget"}; waiting to be read ${bytes(s.queued)}`},
	{title: "Drops a second", value: (s, b) => rate(s, b, "drops"), write: number, floor: 1,
		detail: (s) => `since the start: ${number(s.volatileDropped)} volatile, ${number(s.slow)} slow readers, ${number(s.shed)} for memory`},
	{title: "Handlers at work", value: (s) => s.workers, write: number, floor: 10,
		detail: (s) => `goroutines; ${number(s.activeSockets)} sockets have something to do`},
]

const svg = (name, attributes) => {
	const e = document.createElementNS("http://www.w3.org/2000/svg", name)
	for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v)
	return e
}
const html = (name, parent, attributes) => parent.appendChild(Object.assign(document.createElement(name), attributes))

for (const p of plots) {
	const card = html("article", document.getElementById("plots"), {})
	html("h2", card, {textContent: p.title})
	p.now = html("p", card, {className: "now", textContent: "…"})
	p.below = html("p", card, {className: "detail"})
	p.picture = card.appendChild(svg("svg", {viewBox: "0 0 300 80", preserveAspectRatio: "none", role: "img", "aria-label": `${p.title}: nothing yet`}))
	p.picture.append(svg("line", {class: "base", x1: 0, x2: 300, y1: 79, y2: 79}), p.area = svg("path", {class: "area"}), p.curve = svg("path", {class: "curve"}))
	p.values = []
}

function draw(p) {
	const known = p.values.filter((v) => v !== undefined)
	if (!known.length) return
	const max = Math.max(p.floor, ...known)
	const last = p.values.length - 1
	const span = Math.max(30, last) // samples: the plot is a minute wide at first
	const points = []
	p.values.forEach((v, i) => {
		if (v !== undefined) points.push(`${(300 - (last - i) * 300 / span).toFixed(1)} ${(78 - v / max * 74).toFixed(1)}`)
	})
	const begin = points[0].split(" ")[0]
	p.curve.setAttribute("d", `M${points.join("L")}`)
	p.area.setAttribute("d", `M${begin} 79L${points.join("L")}L300 79Z`)
	p.picture.setAttribute("aria-label", `${p.title}: now ${p.write(known.at(-1))}, at most ${p.write(Math.max(...known))}`)
}

let before
function show(s) {
	if (before && s.start !== before.start) before = undefined // another process
	for (const p of plots) {
		const v = p.value(s, before)
		p.values.push(v)
		if (p.values.length > kept) p.values.shift()
		if (v !== undefined) p.now.textContent = p.write(v)
		p.below.textContent = p.detail(s)
		draw(p)
	}
	before = s
	const health = document.getElementById("health")
	const words = s.live ? s.ready ? "live and ready" : `not ready: ${s.notReady.join("; ")}` : "an event loop is stuck"
	if (health.textContent !== words) health.textContent = words
	health.className = s.live && s.ready ? "good" : "bad"
	const more = {
		"Running for": time(s.uptime), "Sockets": number(s.sockets), "Namespaces": number(s.namespaces), "Sessions opened": number(s.opened),
		"Events in": number(s.eventsIn), "Deliveries": number(s.deliveries), "Bytes in": bytes(s.bytesIn), "Bytes out": bytes(s.bytesOut),
		"Requests refused": number(s.refused), "Faults of handlers": number(s.handlerErrors),
	}
	const list = document.getElementById("more")
	for (const [k, v] of Object.entries(more)) {
		let row = [...list.children].find((d) => d.firstChild.textContent === k)
		if (!row) {
			row = html("div", list, {})
			html("dt", row, {textContent: k})
			html("dd", row, {})
		}
		row.lastChild.textContent = v
	}
}

const fault = document.getElementById("fault")
async function step() {
	try {
		const r = await fetch("?file=data", {cache: "no-store", signal: AbortSignal.timeout(5000)})
		if (!r.ok) throw new Error(`the server answers ${r.status}`)
		show(await r.json())
		fault.hidden = true
	} catch (e) {
		const words = `No numbers come: ${e.message}`
		if (fault.textContent !== words) fault.textContent = words
		fault.hidden = false
	}
	setTimeout(step, every)
}
step()
