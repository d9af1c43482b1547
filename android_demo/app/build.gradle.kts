plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "org.rid.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.rid.demo"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        // All phones are ARM; x86_64 is the emulator's. These two are built for 16 KB pages.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    androidResources {
        // Weights do not compress, and stored as they are they can be mapped.
        noCompress += listOf("tflite", "onnx")
    }

    packaging {
        // Stored uncompressed and aligned, so that libraries load in place on 16 KB pages.
        jniLibs.useLegacyPackaging = false
    }

    sourceSets {
        named("main") { assets.srcDir(layout.buildDirectory.dir("models")) }
        named("test") { kotlin.srcDir(layout.buildDirectory.dir("wrappers")) }
    }

    testOptions {
        unitTests.all {
            it.systemProperty("rid.golden", rootDir.resolve("../tests/golden").path)
            it.systemProperty("rid.models", rootDir.resolve("../dist").path)
        }
    }
}

kotlin {
    compilerOptions { allWarningsAsErrors = true }
}

/** Models that `make export` left in dist/; they are never committed. */
val copyModels by tasks.registering(Copy::class) {
    val exported = rootDir.resolve("../dist")
    from(exported) { include("rid-s.tflite", "rid-s.onnx") }
    into(layout.buildDirectory.dir("models"))
    doFirst {
        require(exported.resolve("rid-s.tflite").isFile) { "$exported/rid-s.tflite is not there; run: make export" }
    }
}

/** The typed wrappers that rid-export wrote beside them; the tests hold them against the app. */
val copyWrappers by tasks.registering(Copy::class) {
    from(rootDir.resolve("../dist")) { include("RidSOnnx.kt") }
    into(layout.buildDirectory.dir("wrappers"))
}

tasks.named("preBuild") { dependsOn(copyModels, copyWrappers) }

dependencies {
    implementation(project(":core"))
    implementation(libs.androidx.activity)
    implementation(libs.androidx.core)
    implementation(libs.androidx.exifinterface)
    implementation(libs.androidx.lifecycle.runtime)
    implementation(libs.androidx.lifecycle.viewmodel)
    implementation(libs.camerax.camera2)
    implementation(libs.camerax.lifecycle)
    implementation(libs.camerax.view)
    implementation(libs.coroutines.android)
    implementation(libs.litert)
    implementation(libs.litert.gpu)
    implementation(libs.onnxruntime.android)

    testImplementation(testFixtures(project(":core")))
    testImplementation(libs.junit)
    testImplementation(libs.kotlin.test)
    testImplementation(libs.onnxruntime.desktop)
}
