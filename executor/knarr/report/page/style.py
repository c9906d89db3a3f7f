"""The style sheet of the page about a build: light and dark, narrow and wide."""

STYLE = """
:root {
  color-scheme: light dark;
  --back: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5b6776; --line: #dde2e8; --track: #eef1f5;
  --link: #0b5cad; --good: #12733c; --bad: #b3261e; --bad-back: #fdecea; --warn: #8a5300;
  --warn-back: #fff4e0;
  --download: #1f77b4; --index: #8792a2; --extract: #5aa9d6; --run: #e08a00; --snapshot: #c2559d;
  --compress: #16946b; --upload: #7655c4; --base: #a9b4c2; --ours: #16946b; --heat: 224, 138, 0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161c; --card: #1a2028; --ink: #e4e9f0; --soft: #9aa7b6; --line: #2e3742; --track: #232b35;
    --link: #78b7f2; --good: #5fcf8f; --bad: #ff8a80; --bad-back: #3a1d1c; --warn: #f3c06b;
  --warn-back: #33280f;
    --download: #4c9be0; --index: #7d8896; --extract: #86c8ee; --run: #f0a63c; --snapshot: #e07fc0;
    --compress: #3fbf92; --upload: #a488ee; --base: #55616f; --ours: #3fbf92; --heat: 240, 166, 60;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1560px; margin: 0 auto; padding: 24px 20px 48px; }
code, pre, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
code, .mono { font-size: 13px; overflow-wrap: anywhere; }
.digest { white-space: nowrap; }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
h1 { font-size: 22px; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 12px; }
header { margin-bottom: 20px; }
header p { margin: 6px 0 0; color: var(--soft); }
.badge { display: inline-block; padding: 1px 10px; border-radius: 99px; font-size: 13px; font-weight: 600;
  border: 1px solid currentColor; margin-right: 10px; vertical-align: 2px; }
.badge.good { color: var(--good); } .badge.bad { color: var(--bad); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-bottom: 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin-bottom: 18px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; display: block; }
.failure { background: var(--bad-back); border-color: var(--bad); }
.failure h2 { color: var(--bad); }
.failure pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
.failure p { margin: 10px 0 0; }
.soft { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 14px; padding: 0; list-style: none;
  font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
.axis, .row { display: grid; grid-template-columns: minmax(160px, 34%) 1fr 64px; gap: 12px;
  align-items: center; }
.axis { color: var(--soft); font-size: 12px; height: 18px; }
.axis div { position: relative; height: 18px; grid-column: 2; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; } .axis span:last-child { transform: translateX(-100%); }
.lane { font-size: 13px; font-weight: 600; margin: 10px 0 2px; overflow-wrap: anywhere; }
.row { min-height: 24px; font-size: 13px; border-radius: 4px; }
.row:hover { background: var(--track); }
.row > :first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row .time { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft);
  white-space: nowrap; }
.track { position: relative; height: 16px; background: var(--track); border-radius: 3px; overflow: hidden; }
.track i { position: absolute; top: 0; bottom: 0; min-width: 2px; }
.whole { background: var(--soft); opacity: .35; }
.download { background: var(--download); } .index { background: var(--index); }
.extract { background: var(--extract); } .run { background: var(--run); }
.snapshot { background: var(--snapshot); } .compress { background: var(--compress); }
.upload { background: var(--upload); } .base { background: var(--base); } .ours { background: var(--ours); }
.cut { background: repeating-linear-gradient(45deg, var(--bad) 0 4px, transparent 4px 8px); }
.pill { font-size: 12px; border-radius: 4px; padding: 0 6px; border: 1px solid currentColor;
  white-space: nowrap; }
.pill.good { color: var(--good); } .pill.bad { color: var(--bad); } .pill.no { color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { min-width: 90px; width: 22%; } .bar .track { margin-top: 2px; }
.source { overflow-x: auto; margin: 0 -20px -18px; border-top: 1px solid var(--line); padding: 8px 0; }
.source > div { display: grid; grid-template-columns: 46px 60px minmax(0, 1fr) auto; font-size: 13px;
  min-width: 100%; }
.source .at { text-align: right; color: var(--soft); user-select: none; padding-right: 12px; }
.source .at:target, .source .at:target ~ * { background: var(--warn-back); }
.source .took { text-align: right; padding-right: 10px; font-variant-numeric: tabular-nums;
  user-select: none;
  color: var(--soft); }
.source pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; padding: 0 20px 0 10px;
  border-left: 3px solid transparent; font-size: 13px; }
.source .hot pre { border-left-color: rgba(var(--heat), var(--share)); }
.source .hot { background: linear-gradient(90deg, rgba(var(--heat), calc(var(--share) * .22)),
  transparent 70%); }
.source .failed { background: var(--bad-back); } .source .failed pre { border-left-color: var(--bad); }
.source .note { display: block; margin: 2px 16px 6px 116px; padding: 3px 10px; border-radius: 4px;
  font-size: 13px;
  overflow-wrap: anywhere; }
.note.warn { background: var(--warn-back); color: var(--warn); }
.note.error { background: var(--bad-back); color: var(--bad); white-space: pre-wrap; }
.source .facts { padding: 0 16px 0 8px; white-space: nowrap; color: var(--soft); }
.source .facts .pill { margin-left: 8px; }
.columns > div { min-width: 0; }
@media (min-width: 1200px) {
  .columns { display: grid; grid-template-columns: minmax(0, 11fr) minmax(0, 10fr); gap: 18px; }
}
.row a { color: inherit; }
.comment { color: var(--soft); }
details summary { cursor: pointer; font-weight: 600; font-size: 16px; }
details[open] summary { margin-bottom: 12px; }
.wide { overflow-x: auto; }
.rest { color: var(--soft); font-size: 13px; }
ul.plain { margin: 0; padding-left: 18px; font-size: 13px; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 13px; }
@media (max-width: 640px) {
  main { padding: 14px 10px 32px; }
  .card { padding: 14px 12px; } .source { margin: 0 -12px -14px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } .tile { padding: 9px 12px; }
  .tile b { font-size: 17px; }
  .axis, .row { grid-template-columns: 1fr 56px; gap: 0 8px; }
  .axis { display: none; }
  .row { padding: 3px 0; }
  .row > :first-child { grid-column: 1; } .row .time { grid-column: 2; grid-row: 1; }
  .row .track { grid-column: 1 / -1; height: 10px; }
  .source > div { grid-template-columns: 34px 46px minmax(0, 1fr) auto; font-size: 12px; }
  .source .at { padding-right: 6px; } .source .took { padding-right: 4px; }
  .source pre { font-size: 12px; padding-right: 10px; }
  .source .note { margin: 2px 10px 6px 34px; }
  .bar { display: none; }
  .roomy { min-width: 620px; }
  .source .facts { padding: 0 8px 0 0; } .source .facts .pill { display: none; }
}
@media print { body { background: none; } .card, .tile { break-inside: avoid; } }
"""
