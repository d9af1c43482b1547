// Stand-in, not Apple's: signatures to type-check against. Nothing here has a camera.
@_exported import Foundation
import UIKit

public enum AVMediaType: Sendable { case video }
public struct AVVideoCodecType: Hashable, Sendable {
    let name: String
    public static let hevc = AVVideoCodecType(name: "hvc1")
    public static let jpeg = AVVideoCodecType(name: "jpeg")
}
public let AVVideoCodecKey = "AVVideoCodecKey"
public enum AVLayerVideoGravity: Sendable { case resizeAspect }

public final class AVCaptureDevice {
    public final class RotationCoordinator {
        public init(device: AVCaptureDevice, previewLayer: CALayer?) {}
        public var videoRotationAngleForHorizonLevelCapture: CGFloat { 0 }
    }
    public static func requestAccess(for type: AVMediaType) async -> Bool { false }
    public enum Position: Sendable { case unspecified, back, front }
    public struct DeviceType: Sendable { public static let builtInWideAngleCamera = DeviceType() }
    public static func `default`(
        _ type: DeviceType, for media: AVMediaType?, position: Position
    ) -> AVCaptureDevice? { nil }
}
open class AVCaptureInput {}
public final class AVCaptureDeviceInput: AVCaptureInput {
    public init(device: AVCaptureDevice) throws {}
}
open class AVCaptureOutput {
    public init() {}
}
public final class AVCaptureConnection {
    public var videoRotationAngle: CGFloat = 0
}
public final class AVCapturePhoto {
    public func fileDataRepresentation() -> Data? { nil }
}
public protocol AVCapturePhotoCaptureDelegate: NSObjectProtocol {
    func photoOutput(
        _ output: AVCapturePhotoOutput, didFinishProcessingPhoto photo: AVCapturePhoto,
        error: (any Error)?)
}
public final class AVCapturePhotoSettings {
    public init(format: [String: Any]?) {}
}
public final class AVCapturePhotoOutput: AVCaptureOutput {
    public var availablePhotoCodecTypes: [AVVideoCodecType] { [] }
    public func connection(with type: AVMediaType) -> AVCaptureConnection? { nil }
    public func capturePhoto(
        with settings: AVCapturePhotoSettings, delegate: any AVCapturePhotoCaptureDelegate
    ) {}
}
public final class AVCaptureSession {
    public enum Preset: Sendable { case photo }
    public init() {}
    public var sessionPreset = Preset.photo
    public func beginConfiguration() {}
    public func commitConfiguration() {}
    public func canAddInput(_ input: AVCaptureInput) -> Bool { false }
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { false }
    public func addInput(_ input: AVCaptureInput) {}
    public func removeInput(_ input: AVCaptureInput) {}
    public func addOutput(_ output: AVCaptureOutput) {}
    public func startRunning() {}
    public func stopRunning() {}
}
public final class AVCaptureVideoPreviewLayer: CALayer {
    public var session: AVCaptureSession?
    public var videoGravity = AVLayerVideoGravity.resizeAspect
}

// Part of Dispatch on Apple systems.
public final class DispatchSerialQueue: SerialExecutor {
    public init(label: String) {}
    public func enqueue(_ job: consuming ExecutorJob) {}
}
