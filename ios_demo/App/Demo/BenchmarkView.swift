import RIDCore
import SwiftUI

/// Measures every model of the app on every kind of compute unit, and exports the figures.
struct BenchmarkView: View {
    @State var model: BenchmarkModel

    var body: some View {
        Form {
            Section {
                if let progress = model.progress {
                    ProgressView("Measuring", value: progress)
                    Button("Stop") { model.stop() }
                } else {
                    Button("Measure") { model.start() }
                }
                if let failure = model.failure {
                    Text(failure)
                }
            } footer: {
                Text("Unplug the phone, close other apps, and let it cool down first.")
            }
            ForEach(model.report?.runs ?? [], id: \.created) { run in
                Section("\(run.machine.cpu), \(run.machine.system)") {
                    if let note = run.note { Text(note) }
                    LabeledContent(
                        "Heat, before and after",
                        value: run.machine.thermal.joined(separator: ", "))
                    ForEach(run.cells, id: \.labels.id) { cell in
                        LabeledContent("\(cell.labels.file), \(cell.labels.kernels)") {
                            Text(cell.error ?? text(cell.figures))
                        }
                    }
                }
            }
            if let file = model.file {
                Section {
                    ShareLink("Export as JSON", item: file)
                } footer: {
                    Text("On a computer: rid-bench report rid-bench-ios.json -o report.html")
                }
            }
        }
        .navigationTitle("Benchmark")
        .onDisappear { model.stop() }
    }

    private func text(_ figures: Figures?) -> String {
        guard let total = figures?.total else { return "" }
        let noise = total.spread > 0.25 ? " (noisy)" : ""
        return String(format: "%.1f ms, 90 %% %.1f ms", total.median * 1000, total.p90 * 1000)
            + noise
    }
}

extension BenchmarkReport.Labels {
    /// Tells the cells of a run apart.
    fileprivate var id: String { "\(file) \(kernels)" }
}
