import RIDCore
import RIDKit
import SwiftUI

/// A photo with everything that can be done with it; used by the app and by the share extension.
struct PhotoView: View {
    @Bindable var model: PhotoModel
    /// Called when the user is through.
    let finish: () -> Void

    @State private var showsChange = false

    var body: some View {
        Form {
            if let preview = model.preview {
                Section {
                    BeforeAfterView(preview: preview, showsChange: showsChange)
                    Toggle("Show the change, 16 times amplified", isOn: $showsChange)
                }
            }
            status
            if let opened = model.opened {
                PhotoControls(model: model, file: opened.file)
                results
                PhotoFigures(opened: opened, exported: model.exported)
            }
            Section {
                Button("Done with this photo", role: .destructive) {
                    Task {
                        await model.discard()
                        finish()
                    }
                }
            } footer: {
                Text("Until then the app keeps a copy, even when it is closed.")
            }
        }
        .navigationTitle("Protect")
        .task { if model.opened == nil { model.open() } }
    }

    @ViewBuilder private var status: some View {
        switch model.phase {
        case .opening(let share):
            Section {
                ProgressView("Protecting", value: share)
                Button("Stop") { model.stop() }
            }
        case .exporting:
            Section {
                ProgressView("Writing the photo")
                Button("Stop") { model.stop() }
            }
        case .failed(let reason):
            Section {
                Text(reason)
                if model.opened == nil {
                    Button("Try again") { model.open() }
                }
            }
        case .ready:
            EmptyView()
        }
    }

    @ViewBuilder private var results: some View {
        Section {
            if let exported = model.exported {
                ShareLink("Share the protected photo", item: exported.url)
                Button(model.isSaved ? "Saved" : "Save to Photos") { model.save() }
                    .disabled(model.isSaved || model.phase == .exporting)
            } else {
                Button("Write the protected photo") { model.export() }
                    .buttonStyle(.borderedProminent)
                    .disabled(model.phase != .ready)
            }
        } footer: {
            Text(
                "This raises the cost of cloning the person with a diffusion model. It covers "
                    + "photos published from now on, and someone who knows of it may remove it.")
        }
    }
}

/// Strength, location and format.
private struct PhotoControls: View {
    @Bindable var model: PhotoModel
    let file: PhotoFile

    var body: some View {
        Section("How") {
            LabeledContent("Strength", value: "\(Int(model.strength * 100)) percent")
                .accessibilityHidden(true)
            Slider(value: $model.strength, in: 0.05...1) {
                Text("Strength")
            } minimumValueLabel: {
                Text("fainter")
            } maximumValueLabel: {
                Text("stronger")
            }
            .accessibilityValue("\(Int(model.strength * 100)) percent")
            if file.hasLocation {
                Toggle("Keep the location where it was taken", isOn: $model.keepsLocation)
            }
            Picker("Format", selection: $model.format) {
                ForEach(PhotoFormat.allCases) { format in
                    Text(format.rawValue.uppercased()).tag(format)
                }
            }
        }
    }
}

/// What it took, and what to know.
private struct PhotoFigures: View {
    let opened: PhotoSession.Opened
    let exported: PhotoSession.Exported?

    var body: some View {
        Section("Figures") {
            LabeledContent("Photo", value: "\(opened.file.width) x \(opened.file.height)")
            LabeledContent("Computed by", value: opened.engine)
            LabeledContent("Decode", value: milliseconds(opened.seconds.decode))
            LabeledContent("Scale", value: milliseconds(opened.seconds.scale))
            LabeledContent("Network", value: milliseconds(opened.seconds.network))
            if let exported {
                LabeledContent("Enlarge and add", value: milliseconds(exported.apply))
                LabeledContent("Encode", value: milliseconds(exported.encode))
                LabeledContent(
                    "Largest change", value: "\(exported.verdict.maxLevels) of 255 levels")
            }
            if let footprint = Memory.footprint {
                LabeledContent("Memory of the app", value: "\(footprint / 1_000_000) MB")
            }
        }
        if !opened.notes.isEmpty {
            Section("To know") {
                ForEach(opened.notes, id: \.self) { note in
                    Text(note)
                }
            }
        }
    }

    private func milliseconds(_ seconds: Double) -> String {
        String(format: "%.0f ms", seconds * 1000)
    }
}
