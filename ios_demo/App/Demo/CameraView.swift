@preconcurrency import AVFoundation
import SwiftUI
import UIKit

/// A plain camera: preview, shutter, cancel.
struct CameraView: View {
    /// Called with the photo; whoever presents this view takes it down.
    let taken: (Camera.Shot) -> Void

    @State private var camera = Camera()
    /// Why there is no picture, in words.
    @State private var failure: String?
    /// What did not work while the picture goes on, in words.
    @State private var notice: String?
    @State private var isBusy = false
    @Environment(\.dismiss) private var dismiss

    var body: some View {
        VStack {
            if let failure {
                Text(failure).padding()
            } else {
                if let notice {
                    Text(notice).padding()
                }
                CameraPreview(source: camera.preview)
            }
            HStack {
                Button("Cancel") { dismiss() }
                Button("Other camera") { turn() }
                    .disabled(isBusy || failure != nil)
                Button("Take the photo") { shoot() }
                    .buttonStyle(.borderedProminent)
                    .disabled(isBusy || failure != nil)
            }
            .padding()
        }
        .task {
            do {
                try await camera.start()
            } catch {
                failure = error.localizedDescription
            }
        }
        .onDisappear { Task { await camera.stop() } }
    }

    private func turn() {
        Task {
            do {
                try await camera.turn()
                notice = nil
            } catch {
                notice = error.localizedDescription
            }
        }
    }

    private func shoot() {
        isBusy = true
        Task {
            defer { isBusy = false }
            do {
                taken(try await camera.takePhoto())
            } catch {
                failure = error.localizedDescription
            }
        }
    }
}

/// The camera's picture as it comes.
private struct CameraPreview: UIViewRepresentable {
    let source: Camera.PreviewSource

    final class LayerView: UIView {
        override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }
    }

    func makeUIView(context: Context) -> LayerView {
        let view = LayerView()
        if let layer = view.layer as? AVCaptureVideoPreviewLayer {
            layer.session = source.session
            layer.videoGravity = .resizeAspect
        }
        return view
    }

    func updateUIView(_ view: LayerView, context: Context) {}
}
