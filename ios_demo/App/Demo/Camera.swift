@preconcurrency import AVFoundation
import RIDCore

/// The camera, off the main thread: AVFoundation's calls block.
actor Camera {
    /// A photo as the camera encoded it.
    struct Shot: Sendable {
        let data: Data
        /// `heic` or `jpg`.
        let fileExtension: String
    }

    /// The session, for a preview layer. `@unchecked`: the layer only shows it.
    struct PreviewSource: @unchecked Sendable {
        let session: AVCaptureSession
    }

    nonisolated let preview: PreviewSource

    private let output = AVCapturePhotoOutput()
    private let queue = DispatchSerialQueue(label: "org.rid.demo.camera")
    private var rotation: AVCaptureDevice.RotationCoordinator?
    private var input: AVCaptureDeviceInput?
    private var position = AVCaptureDevice.Position.back
    private var receiver: Receiver?

    nonisolated var unownedExecutor: UnownedSerialExecutor { queue.asUnownedSerialExecutor() }

    init() {
        preview = PreviewSource(session: AVCaptureSession())
    }

    /// Asks for permission, sets the camera up, and starts it.
    ///
    /// - Throws: `RIDError.permissionDenied` or `.cameraUnavailable`.
    func start() async throws {
        guard await AVCaptureDevice.requestAccess(for: .video) else {
            throw RIDError.permissionDenied("The camera")
        }
        if input == nil { try configure() }
        preview.session.startRunning()
    }

    /// Goes on with the camera on the other side.
    ///
    /// - Throws: `RIDError.cameraUnavailable`; the one in use stays.
    func turn() throws {
        try use(position == .back ? .front : .back)
    }

    func stop() {
        preview.session.stopRunning()
    }

    /// Takes a photo at full resolution, HEIC where the device writes it.
    ///
    /// - Throws: `RIDError.cameraUnavailable`.
    func takePhoto() async throws -> Shot {
        guard let rotation, receiver == nil else {
            throw RIDError.cameraUnavailable("it is not ready")
        }
        let isHEVC = output.availablePhotoCodecTypes.contains(.hevc)
        let codec: AVVideoCodecType = isHEVC ? .hevc : .jpeg
        let settings = AVCapturePhotoSettings(format: [AVVideoCodecKey: codec])
        let connection = output.connection(with: .video)
        connection?.videoRotationAngle = rotation.videoRotationAngleForHorizonLevelCapture
        defer { receiver = nil }
        let data = try await withCheckedThrowingContinuation { continuation in
            let receiver = Receiver(continuation)
            self.receiver = receiver
            output.capturePhoto(with: settings, delegate: receiver)
        }
        return Shot(data: data, fileExtension: isHEVC ? "heic" : "jpg")
    }

    private func configure() throws {
        let session = preview.session
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        session.sessionPreset = .photo
        try use(position)
        guard session.canAddOutput(output) else {
            throw RIDError.cameraUnavailable("it is in use")
        }
        session.addOutput(output)
    }

    private func use(_ wanted: AVCaptureDevice.Position) throws {
        guard
            let device = AVCaptureDevice.default(
                .builtInWideAngleCamera, for: .video, position: wanted),
            let fresh = try? AVCaptureDeviceInput(device: device)
        else { throw RIDError.cameraUnavailable("this device has none there, or it is in use") }
        let session = preview.session
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        if let input { session.removeInput(input) }
        guard session.canAddInput(fresh) else {
            if let input { session.addInput(input) }
            throw RIDError.cameraUnavailable("it is in use")
        }
        session.addInput(fresh)
        input = fresh
        position = wanted
        rotation = AVCaptureDevice.RotationCoordinator(device: device, previewLayer: nil)
    }

    /// Hands the one photo of a capture on, as data of a file.
    private final class Receiver: NSObject, AVCapturePhotoCaptureDelegate {
        private let continuation: CheckedContinuation<Data, any Error>

        init(_ continuation: CheckedContinuation<Data, any Error>) {
            self.continuation = continuation
        }

        func photoOutput(
            _ output: AVCapturePhotoOutput, didFinishProcessingPhoto photo: AVCapturePhoto,
            error: (any Error)?
        ) {
            if let data = photo.fileDataRepresentation(), error == nil {
                continuation.resume(returning: data)
            } else {
                let reason = error?.localizedDescription ?? "it gave no photo"
                continuation.resume(throwing: RIDError.cameraUnavailable(reason))
            }
        }
    }
}
