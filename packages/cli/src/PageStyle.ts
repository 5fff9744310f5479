/**
 * The style of the report: light or dark as the reader has it, from 360 pixels on.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category constants
 */
export const css = `
:root { color-scheme: light dark; --bg: #f6f5f2; --card: #fff; --text: #1d1d21; --dim: #5f606b; --line: #e2e0da;
  --direct: #22836a; --fallback: #d48a06; --failed: #c4314b; --interrupted: #8d8e99; --time: #3b5fc0; --wait: #b9b8c2; --fallback-text: #8f5c00 }
@media (prefers-color-scheme: dark) { :root { --bg: #14151a; --card: #1d1f26; --text: #e9e9ef; --dim: #a2a3b1;
  --line: #343741; --direct: #3fb491; --fallback: #e5aa3a; --failed: #ef667d; --interrupted: #7b7d8a; --time: #7f9ef8;
  --wait: #565967; --fallback-text: #e5aa3a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100% }
main { max-width: 1080px; margin: 0 auto; padding: 28px 16px 48px; display: grid; gap: 16px;
  grid-template-columns: minmax(0, 1fr) }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em }
h2 { font-size: 17px; line-height: 1.3; margin: 0 0 2px }
p { margin: 0; max-width: 76ch }
.dim, figcaption { color: var(--dim); font-size: 13px }
.note { border-left: 3px solid var(--fallback); padding-left: 10px; margin-top: 8px }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px 18px; min-width: 0 }
.pair { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)) }
.tiles { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); margin: 0 }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px }
.tiles dt { color: var(--dim); font-size: 13px }
.tiles dd { margin: 0; font-size: 20px; line-height: 1.25; font-weight: 650; letter-spacing: -0.02em; overflow-wrap: anywhere }
.tiles dd small { display: block; font-size: 12.5px; font-weight: 400; color: var(--dim); letter-spacing: 0 }
.tiles .unit { font-size: 13px; font-weight: 500; letter-spacing: 0 }
figure { margin: 10px 0 0 }
.plot { padding-left: 48px }
.columns + .columns { margin-top: 8px }
svg { display: block; overflow: visible }
.direct { fill: var(--direct) } .fallback { fill: var(--fallback) } .failed { fill: var(--failed) }
.interrupted { fill: var(--interrupted) } .time { fill: var(--time) } .light { fill: var(--time); opacity: .35 }
.wait { fill: var(--wait) } .moment { fill: var(--text) }
.columns rect { shape-rendering: crispEdges } .hit { fill: transparent } g:hover .hit { fill: var(--line); opacity: .6 }
.grid { stroke: var(--line); shape-rendering: crispEdges }
.tick { fill: var(--dim); font-size: 11px }
.axis { display: flex; justify-content: space-between; gap: 12px; color: var(--dim); font-size: 12px; margin-top: 4px }
.axis :last-child { text-align: right } .plot .legend { margin-left: -48px }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none; margin: 6px 0 0; padding: 0; font-size: 13px }
.legend svg { display: inline-block; vertical-align: -1px; margin-right: 6px }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { text-align: right; padding: 5px 0 5px 14px; border-bottom: 1px solid var(--line); vertical-align: middle;
  white-space: nowrap }
th { font-weight: 500; color: var(--dim); font-size: 13px }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
tbody th { color: var(--text); font-size: 14px; white-space: normal; overflow-wrap: anywhere; min-width: 9em }
tbody tr:last-child > * { border-bottom: 0 }
.wide { width: 40%; min-width: 90px } .wide + td { width: 6em }
.scroll { overflow-x: auto; margin-top: 8px } .scroll + .dim { margin-top: 8px }
details { margin-top: 10px }
summary { cursor: pointer }
summary.dim { width: fit-content }
:focus-visible { outline: 2px solid var(--time); outline-offset: 2px; border-radius: 4px }
.calls { list-style: none; margin: 10px 0 0; padding: 0 }
.calls > li { border-top: 1px solid var(--line); padding: 8px 0 }
.calls details { margin: 0 }
.calls summary { display: grid; gap: 0 12px; grid-template-columns: minmax(0, 1fr) auto; align-items: baseline }
.calls summary::-webkit-details-marker { display: none }
.calls summary strong { font-weight: 600; overflow-wrap: anywhere }
.calls summary strong::before { content: "▸"; color: var(--dim); display: inline-block; width: 1.1em }
.calls details[open] summary strong::before { content: "▾" }
.calls summary .dim { grid-column: 1 / -1; padding-left: 1.2em; overflow-wrap: anywhere }
.is-failed { color: var(--failed) } .is-fallback { color: var(--fallback-text) } .is-direct { color: var(--direct) }
.waterfall { list-style: none; margin: 8px 0 4px; padding: 0; font-size: 13px }
.waterfall > li { display: grid; gap: 0 12px; align-items: center; padding: 2px 0;
  grid-template-columns: minmax(0, 15em) minmax(0, 1fr) minmax(0, 13em) 4.5em }
.waterfall .what { overflow-wrap: anywhere } .waterfall .took { text-align: right }
.waterfall .bar { background: linear-gradient(var(--line), var(--line)) 0 50% / 100% 1px no-repeat }
.waterfall .words { grid-column: 2 / -1; color: var(--dim); overflow-wrap: anywhere }
@media (max-width: 720px) {
  main { padding: 18px 10px 32px; gap: 10px }
  section { padding: 13px 12px 14px }
  .pair { grid-template-columns: minmax(0, 1fr); gap: 10px }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px } .tiles > div:last-child:nth-child(odd) { grid-column: 1 / -1 }
  th, td { padding-left: 9px } table, tbody th { font-size: 13px } tbody th { min-width: 7em }
  .waterfall > li { grid-template-columns: minmax(0, 1fr) minmax(0, auto) 3.8em; gap: 0 8px; padding: 5px 0 }
  .waterfall .bar { grid-row: 2; grid-column: 1 / -1 } .waterfall .note-of { grid-row: 1; grid-column: 2; color: var(--dim) }
  .calls summary { font-size: 14px }
  .waterfall .took { grid-row: 1; grid-column: 3 } .waterfall .words { grid-column: 1 / -1 }
}
@media (max-width: 600px) {
  .many thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }
  .many, .many tbody { display: block }
  .many tr { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 2px 10px;
    padding: 7px 0; border-bottom: 1px solid var(--line) }
  .many tr:last-child { border-bottom: 0 }
  .many tr > * { border: 0; padding: 0; text-align: left; white-space: normal; overflow-wrap: anywhere }
  .many tbody th { grid-column: 1 / -1; font-weight: 600 }
  .many td::before { content: attr(data-head); display: block; color: var(--dim); font-size: 12px }
}
@media print { body { background: none } section, .tiles > div { break-inside: avoid } }
`
