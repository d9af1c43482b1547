import PhotosUI
import RIDCore
import RIDKit
import SwiftUI

/// Pick or take a photo, go on with one that was not finished, or measure.
struct HomeView: View {
    @Bindable var model: HomeModel

    @State private var picked: PhotosPickerItem?
    @Environment(\.scenePhase) private var scenePhase

    var body: some View {
        NavigationStack {
            Form {
                Section {
                    // `.current`: the file as it is, not one that was converted to JPEG.
                    PhotosPicker(
                        selection: $picked, matching: .images, preferredItemEncoding: .current
                    ) {
                        Label("Choose a photo", systemImage: "photo")
                    }
                    Button {
                        model.showsCamera = true
                    } label: {
                        Label("Take a photo", systemImage: "camera")
                    }
                } footer: {
                    Text("Or share a photo from any app to RID. Nothing leaves this device.")
                }
                if !model.waiting.isEmpty {
                    Section("Not finished") {
                        ForEach(model.waiting) { entry in
                            Button(entry.added.formatted(date: .abbreviated, time: .shortened)) {
                                model.open(entry)
                            }
                        }
                    }
                }
                Section {
                    NavigationLink("Benchmark") {
                        BenchmarkView(model: BenchmarkModel(library: model.library))
                    }
                }
            }
            .navigationTitle("RID")
            .navigationDestination(item: $model.current) { photo in
                PhotoView(model: photo) { Task { await model.closed() } }
            }
        }
        .task { await model.refresh() }
        .onChange(of: scenePhase) { _, phase in
            // The share extension may have left a photo.
            if phase == .active { Task { await model.refresh() } }
        }
        .onChange(of: picked) { _, item in
            guard let item else { return }
            picked = nil
            Task { await model.add(item) }
        }
        .fullScreenCover(isPresented: $model.showsCamera) {
            CameraView { shot in Task { await model.add(shot) } }
        }
        .alert("That did not work", isPresented: failed) {
            Button("OK") { model.failure = nil }
        } message: {
            Text(model.failure ?? "")
        }
    }

    private var failed: Binding<Bool> {
        Binding(get: { model.failure != nil }, set: { if !$0 { model.failure = nil } })
    }
}
